/** Time between questions whether the peer is still there. */
export const pingEveryMs = 500
/**
 * How long an asked peer may say nothing at all. A loss is told within 5 s: this, the time to the next question and one to look
 * at the clock. A peer that stands still for 4 s (a throttled container, a moved virtual machine) stays.
 */
export const silenceLimitMs = 4_300
/** Slowest upload on which a question behind much data is still waited for, in bytes per millisecond. */
const slowestBytesPerMs = 128
/** Longest time added for data that stands before a question. */
const longestPatienceMs = 30_000
/** A look at the clock that comes this late says that this process or its machine stood still, not the peer. */
const lateMs = 1_000
const maxQuestions = 64

/** Judges by questions and answers whether a peer is still there. Times are of one clock, in milliseconds. */
export class Liveness {
  readonly #everyMs: number
  readonly #limitMs: number
  /** Since when nothing was heard although an answer is due. */
  #askedAt: number | undefined
  #lookedAt: number
  /** For each question without its answer: bytes sent before it. */
  #questions: number[] = []
  #answeredBytes = 0

  constructor(now: number, everyMs = pingEveryMs, limitMs = silenceLimitMs) {
    this.#everyMs = everyMs
    this.#limitMs = limitMs
    this.#lookedAt = now
  }

  /** Anything came from the peer, or nothing could come because we did not listen. */
  heard(): void {
    this.#askedAt = undefined
  }

  answered(): void {
    this.heard()
    this.#answeredBytes = this.#questions.shift() ?? this.#answeredBytes
  }

  /** Another connection: nothing is asked on it, nothing sent. */
  begin(): void {
    this.heard()
    this.#questions = []
    this.#answeredBytes = 0
  }

  /** To be called regularly. @param sentBytes everything sent on this connection */
  look(now: number, sentBytes: number): "ask" | "wait" | "gone" {
    const isLate = now - this.#lookedAt > Math.max(lateMs, 2 * this.#everyMs)
    this.#lookedAt = now
    if (this.#askedAt === undefined) {
      this.#askedAt = now
      this.#questions.push(sentBytes)
      if (this.#questions.length > maxQuestions) this.#questions.shift()
      return "ask"
    }
    if (isLate) this.#askedAt = now
    const ahead = this.#questions.at(-1)! - this.#answeredBytes
    const patienceMs = Math.min(ahead / slowestBytesPerMs, longestPatienceMs)
    return now - this.#askedAt > this.#limitMs + patienceMs ? "gone" : "wait"
  }
}
