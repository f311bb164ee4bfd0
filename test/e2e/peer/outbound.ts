import { type ClientMessage, clientMessage } from "../../../core/protocol/index.ts"

/**
 * What a real client has waiting: several queues, in order each, of which the next message is taken at random. The seed
 * makes a failure come again.
 */
export class Outbound {
  readonly #queues = new Map<string, ClientMessage[]>()
  readonly #write: (bytes: Uint8Array) => void
  #random: number
  #scheduled = false

  constructor(seed: number, write: (bytes: Uint8Array) => void) {
    this.#random = seed >>> 0 || 1
    this.#write = write
  }

  push(queue: string, ...messages: ClientMessage[]): void {
    this.#queues.set(queue, [...(this.#queues.get(queue) ?? []), ...messages])
    if (this.#scheduled) return
    this.#scheduled = true
    queueMicrotask(() => this.flush())
  }

  /** Everything that waits is written before this returns. */
  flush(): void {
    this.#scheduled = false
    while (this.#queues.size > 0) {
      const names = [...this.#queues.keys()]
      const name = names[this.#below(names.length)]!
      const queue = this.#queues.get(name)!
      this.#write(clientMessage.encode(queue.shift()!))
      if (queue.length === 0) this.#queues.delete(name)
    }
  }

  /** A linear congruential generator: any sequence will do, as long as it is the same again. */
  #below(limit: number): number {
    this.#random = (Math.imul(this.#random, 1_664_525) + 1_013_904_223) >>> 0
    return this.#random % limit
  }
}
