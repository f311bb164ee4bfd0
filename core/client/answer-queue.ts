/** Waiting questions whose answers come in the order they were asked, and carry nothing else to match them by. */
export class AnswerQueue<T> {
  #waiting: { resolve(answer: T): void; reject(error: Error): void }[] = []
  #head = 0
  #over: Error | undefined

  /** Call it in the same turn in which the question is sent. */
  next(): Promise<T> {
    if (this.#over) return Promise.reject(this.#over)
    return new Promise((resolve, reject) => this.#waiting.push({ resolve, reject }))
  }

  /** The question asked last could not be sent: the next answer is not for it. Call it in the same turn as `next`. */
  withdraw(): void {
    if (this.#waiting.length > this.#head) this.#waiting.pop()
  }

  /** False when nobody waits: the peer answered something that was not asked. */
  answer(value: T): boolean {
    const first = this.#waiting[this.#head]
    if (!first) return false
    this.#head++
    // Shifting one by one costs time in the length of the queue; many readers ask thousands of things at once.
    if (this.#head > 1_024 || this.#head === this.#waiting.length) {
      this.#waiting.splice(0, this.#head)
      this.#head = 0
    }
    first.resolve(value)
    return true
  }

  /** Fails everything that waits and everything asked later. */
  fail(error: Error): void {
    this.#over ??= error
    this.failWaiting(error)
  }

  /** Fails everything that waits: those answers will not come, later ones will. */
  failWaiting(error: Error): void {
    const waiting = this.#waiting.slice(this.#head)
    this.#waiting = []
    this.#head = 0
    for (const { reject } of waiting) reject(error)
  }
}
