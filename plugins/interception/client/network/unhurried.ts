/** For a program that connects no more, in milliseconds. */
const limitMs = 1
/** Kept at a time. */
const maxKept = 64

/**
 * What nobody waits for, as the end of a connection the program has closed: its next call usually follows at once and comes first. Done
 * when that is answered, or a moment later.
 */
export class Unhurried {
  #kept: (() => void)[] = []
  #timer: ReturnType<typeof setTimeout> | undefined

  add(work: () => void): void {
    this.#kept.push(work)
    if (this.#kept.length >= maxKept) this.do()
    else this.#timer ??= setTimeout(() => this.do(), limitMs)
  }

  do(): void {
    if (this.#kept.length === 0) return
    clearTimeout(this.#timer)
    this.#timer = undefined
    for (const work of this.#kept.splice(0)) work()
  }
}
