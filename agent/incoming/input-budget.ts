import type { AgentClient } from "../feature.ts"
import type { Budget, Waiting } from "./outlet.ts"

/** Bytes of one client that may wait for slow peers before nothing more is read from that client. */
const holdAboveBytes = 16 << 20
const releaseBelowBytes = 8 << 20
/** While a client is held, a peer that takes nothing for this long is given up, so that the client's other streams go on. */
const stuckMilliseconds = 10_000
const lookEveryMilliseconds = 1_000

/** Keeps what one client sends to slow peers within bounds, by not reading from the client for a while. */
export class InputBudget implements Budget {
  readonly #client: AgentClient
  readonly #waiting = new Set<Waiting>()
  #bytes = 0
  #release: (() => void) | undefined
  #timer: ReturnType<typeof setInterval> | undefined

  constructor(client: AgentClient) {
    this.#client = client
  }

  changed(bytes: number, where: Waiting): void {
    this.#bytes += bytes
    if (where.queuedBytes > 0) this.#waiting.add(where)
    else this.#waiting.delete(where)
    if (this.#bytes > holdAboveBytes && !this.#release) this.#hold()
    else if (this.#bytes < releaseBelowBytes) this.close()
  }

  close(): void {
    clearInterval(this.#timer)
    this.#release?.()
    this.#release = undefined
  }

  #hold(): void {
    this.#release = this.#client.holdInput()
    this.#timer = setInterval(() => this.#giveUpStuck(), lookEveryMilliseconds)
  }

  #giveUpStuck(): void {
    const limit = performance.now() - stuckMilliseconds
    for (const where of [...this.#waiting]) {
      if (where.lastProgress > limit) continue
      this.#client.tell("Warn", "a connection was reset: its peer stopped reading while much data was waiting for it")
      where.reset()
    }
  }
}
