import type { DaemonMessage } from "../../protocol/index.ts"

/** Between measurements, in milliseconds. */
const everyMs = 30_000

/** Measures how long a client's answers take to come back. */
export class LatencyProbe {
  readonly #toClient: (message: DaemonMessage) => void
  readonly #onLatency: (milliseconds: number) => void
  #sent: { id: bigint; at: number } | undefined
  #timer: ReturnType<typeof setInterval> | undefined

  constructor(toClient: (message: DaemonMessage) => void, onLatency: (milliseconds: number) => void) {
    this.#toClient = toClient
    this.#onLatency = onLatency
  }

  /** Further calls change nothing. */
  start(): void {
    if (this.#timer !== undefined) return
    this.#timer = setInterval(() => this.#measure(), everyMs)
    this.#measure()
  }

  answered(id: bigint): void {
    if (this.#sent?.id !== id) return
    this.#onLatency(performance.now() - this.#sent.at)
    this.#sent = undefined
  }

  stop(): void {
    clearInterval(this.#timer)
  }

  #measure(): void {
    this.#sent = { id: BigInt(Math.floor(Math.random() * Number.MAX_SAFE_INTEGER)), at: performance.now() }
    this.#toClient({ kind: "OperatorPing", value: this.#sent.id })
  }
}
