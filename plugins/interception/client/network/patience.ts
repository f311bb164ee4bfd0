/** Longest time a thread is kept waiting for the answer to a non-blocking connect, in milliseconds. */
export const patienceMs = 3

/**
 * Whether a non-blocking connect is worth waiting for: the program then gets a connected socket at once and need not come back
 * for it, which costs it several calls. Only lone connects wait, where answers have come quickly of late: a program that begins many
 * at a time wants them side by side.
 */
export class Patience {
  #underWay = 0
  #last = { tid: -1, endedAt: Number.NEGATIVE_INFINITY, tookMs: 0 }

  /** To be asked before `begin`. */
  isWorthwhile(tid: number): boolean {
    const { endedAt, tookMs } = this.#last
    if (this.#underWay > 0 || tookMs > patienceMs) return false
    // The same thread again, sooner than the remote side could have said anything to it: it does not wait for answers.
    return tid !== this.#last.tid || performance.now() - endedAt > tookMs / 2
  }

  /** A connect has begun; the returned function is to be called once when it was answered. */
  begin(tid: number): () => void {
    const beganAt = performance.now()
    this.#underWay++
    return () => {
      this.#underWay--
      const endedAt = performance.now()
      this.#last = { tid, endedAt, tookMs: endedAt - beganAt }
    }
  }
}
