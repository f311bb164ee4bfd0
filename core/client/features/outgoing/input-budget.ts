import type { Conversation } from "../../conversation.ts"

/** Bytes of the pod's answers that may wait for slow programs: at the upper mark reading stops, at the lower it goes on. */
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
