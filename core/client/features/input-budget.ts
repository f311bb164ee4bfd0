import type { Conversation } from "../conversation.ts"

/** Bytes from the pod that may wait for slow programs: at the upper mark reading stops, at the lower it goes on. */
const highBytes = 32 << 20
const lowBytes = 16 << 20

/**
 * What waits in paused connections, all together. The protocol cannot slow down one connection alone, so a small number of
 * slow readers is borne in memory, and only then the whole link waits.
 */
export class InputBudget {
  readonly #conversation: Pick<Conversation, "hold">
  #waitingBytes = 0
  #release: (() => void) | undefined

  constructor(conversation: Pick<Conversation, "hold">) {
    this.#conversation = conversation
  }

  add(bytes: number): void {
    this.#waitingBytes += bytes
    if (this.#waitingBytes > highBytes) this.#release ??= this.#conversation.hold()
  }

  remove(bytes: number): void {
    this.#waitingBytes -= bytes
    if (this.#waitingBytes >= lowBytes || !this.#release) return
    this.#release()
    this.#release = undefined
  }
}

/** What one connection or request has waiting, in the budget of all. */
export class BudgetShare {
  readonly #budget: InputBudget
  #bytes = 0

  constructor(budget: InputBudget) {
    this.#budget = budget
  }

  /** So many bytes wait by now. */
  set(bytes: number): void {
    if (bytes > this.#bytes) this.#budget.add(bytes - this.#bytes)
    if (bytes < this.#bytes) this.#budget.remove(this.#bytes - bytes)
    this.#bytes = bytes
  }
}
