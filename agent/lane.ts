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
    if (this.#busy) {
      this.#waiting.push(request)
      if (this.#waiting.length >= this.#maxWaiting) this.#release ??= this.#client.holdInput()
      return
    }
    // A request that needs no waiting is over when this returns, so that those that came with it find the lane free.
    let served: Served | Promise<Served>
    try {
      served = this.#client.signal.aborted ? undefined : this.#serve(request)
    } catch (thrown) {
      this.#fail(thrown)
      return
    }
    if (served === false || served instanceof Promise) void this.#run(served)
  }

  /** Serves what comes while `first` is under way. */
  async #run(first: false | Promise<Served>): Promise<void> {
    this.#busy = true
    try {
      await this.#settled(first)
      while (this.#waiting.length > 0) await this.#runBatch()
    } catch (thrown) {
      this.#fail(thrown)
    } finally {
      this.#busy = false
      this.#goOn()
    }
  }

  async #runBatch(): Promise<void> {
    const batch = this.#waiting
    this.#waiting = []
    for (const request of batch) {
      if (this.#client.signal.aborted) return
      await this.#settled(this.#serve(request))
    }
    this.#goOn()
  }

  async #settled(served: Served | Promise<Served>): Promise<void> {
    const room = served instanceof Promise ? await served : served
    if (room === false) await this.#client.whenWritable()
  }

  #fail(thrown: unknown): void {
    this.#client.log.error("request failed", { error: thrown })
    this.#client.end(errorText(thrown))
  }

  #goOn(): void {
    this.#release?.()
    this.#release = undefined
  }
}
