import { errorText } from "../../errors.ts"
import type { Logger } from "../../log.ts"

/** Between two lines about Events that were not written, in milliseconds. */
const quietMs = 10_000

/** What became of Events that were not written: however many there are, one line now and then. */
export class EventTrouble {
  readonly #log: Logger
  readonly #quietMs: number
  #omitted = 0
  #failed = 0
  #lastError: unknown
  #timer: ReturnType<typeof setTimeout> | undefined

  constructor(log: Logger, quiet = quietMs) {
    this.#log = log
    this.#quietMs = quiet
  }

  omitted(): void {
    this.#omitted++
    this.#later()
  }

  failed(error: unknown): void {
    this.#failed++
    this.#lastError = error
    this.#later()
  }

  stop(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
  }

  #later(): void {
    if (this.#timer) return
    this.#timer = setTimeout(() => this.#tell(), this.#quietMs)
    this.#timer.unref()
  }

  #tell(): void {
    const lastError = this.#lastError === undefined ? undefined : errorText(this.#lastError)
    this.#log.warn("Kubernetes Events were not written", { omitted: this.#omitted, failed: this.#failed, lastError })
    this.#omitted = 0
    this.#failed = 0
    this.#lastError = undefined
    this.#timer = undefined
  }
}
