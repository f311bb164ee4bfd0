import type { Conversation } from "../conversation.ts"

/** Bytes from the pod that may wait for slow programs: at the upper mark reading stops, at the lower it goes on. */
const highBytes = 32 << 20
const lowBytes = 16 << 20
/**
 * A program may read nothing because it waits for something else from the pod (who is this caller?), which comes by the same link. When
 * nothing was read for so long, in milliseconds, so much more may wait, up to this much in all.
 */
const stuckMs = 250
const moreBytes = 32 << 20
const mostBytes = 512 << 20

/**
 * What waits in paused connections, all together. The protocol cannot slow down one connection alone, so a small number of
 * slow readers is borne in memory, and only then the whole link waits, for as long as they read.
 */
export class InputBudget {
  readonly #conversation: Pick<Conversation, "hold">
  #waitingBytes = 0
  #mark = highBytes
  #release: (() => void) | undefined
  #stuck: ReturnType<typeof setTimeout> | undefined

  constructor(conversation: Pick<Conversation, "hold">) {
    this.#conversation = conversation
  }

  add(bytes: number): void {
    this.#waitingBytes += bytes
    if (this.#waitingBytes <= this.#mark || this.#release) return
    this.#release = this.#conversation.hold()
    this.#watch()
  }

  remove(bytes: number): void {
    this.#waitingBytes -= bytes
    if (this.#waitingBytes < lowBytes) {
      this.#mark = highBytes
      this.#goOn()
    } else if (this.#release) this.#watch()
  }

  /** Waits for something to be read. */
  #watch(): void {
    clearTimeout(this.#stuck)
    if (this.#mark >= mostBytes) return
    this.#stuck = setTimeout(() => {
      this.#mark += moreBytes
      this.#goOn()
    }, stuckMs)
    this.#stuck.unref()
  }

  #goOn(): void {
    clearTimeout(this.#stuck)
    this.#release?.()
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
