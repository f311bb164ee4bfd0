import { errorText } from "../core/errors.ts"
import type { AgentClient } from "./feature.ts"

/** What serving one request comes to: false, as from `send`, when the client's queue is full. */
type Served = boolean | undefined

/**
 * Serves the requests of one client one after the other and in order, and takes no further one while the client does
 * not read its answers.
 */
export class Lane<T> {
  readonly #client: AgentClient
  readonly #serve: (request: T) => Served | Promise<Served>
  readonly #maxWaiting: number
  #waiting: T[] = []
  #busy = false
  #release: (() => void) | undefined

  /**
   * What `serve` throws ends the client. With `maxWaiting` requests waiting the client is read no further; what was
   * already decoded may come on top.
   */
  constructor(client: AgentClient, maxWaiting: number, serve: (request: T) => Served | Promise<Served>) {
    this.#client = client
    this.#maxWaiting = maxWaiting
    this.#serve = serve
  }

  push(request: T): void {
    this.#waiting.push(request)
    if (!this.#busy) void this.#run()
    else if (this.#waiting.length >= this.#maxWaiting) this.#release ??= this.#client.holdInput()
  }

  async #run(): Promise<void> {
    this.#busy = true
    try {
      while (this.#waiting.length > 0) await this.#runBatch()
    } catch (thrown) {
      this.#client.log.error("request failed", { error: thrown })
      this.#client.end(errorText(thrown))
    } finally {
      this.#busy = false
      this.#goOn()
    }
  }

  /** Begins without a turn of the event loop, so that a lone request is answered at once. */
  async #runBatch(): Promise<void> {
    const batch = this.#waiting
    this.#waiting = []
    for (const request of batch) {
      if (this.#client.signal.aborted) return
      const served = this.#serve(request)
      const room = served instanceof Promise ? await served : served
      if (room === false) await this.#client.whenWritable()
    }
    this.#goOn()
  }

  #goOn(): void {
    this.#release?.()
    this.#release = undefined
  }
}
