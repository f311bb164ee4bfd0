/**
 * Longest time an answer about a name is believed, however long its records hold, in milliseconds: a program that looks up a name for
 * each of its calls is served at once, and a deployment is seen a second later at most.
 */
export const longestBeliefMs = 1000

/** What holds for a time, in milliseconds of `performance.now()`. */
export interface Perishable {
  until: number
}

/** Answers for as long as they hold. */
export class BelievedAnswers<T extends Perishable> {
  readonly #answers = new Map<string, T>()
  readonly #maxAnswers: number
  readonly #now: () => number

  /** `now` in milliseconds. */
  constructor(maxAnswers: number, now = () => performance.now()) {
    this.#maxAnswers = maxAnswers
    this.#now = now
  }

  get(key: string): T | undefined {
    const known = this.#answers.get(key)
    return known && this.#now() < known.until ? known : undefined
  }

  /** An answer that does not hold is not kept. */
  keep(key: string, answer: T): void {
    if (answer.until <= this.#now()) return
    // Everything in it is old by then.
    if (this.#answers.size >= this.#maxAnswers) this.#answers.clear()
    this.#answers.set(key, answer)
  }

  /** When an answer that holds so long is not believed any more. */
  untilAfter(milliseconds: number): number {
    return this.#now() + Math.min(milliseconds, longestBeliefMs)
  }

  /** How much longer it holds, in milliseconds. */
  left({ until }: Perishable): number {
    return Math.max(0, until - this.#now())
  }

  clear(): void {
    this.#answers.clear()
  }
}
