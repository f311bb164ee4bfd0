import type { ClaimedStream } from "./claimed-stream.ts"

/** Claimed streams of one connection at a time. */
const maxClaimed = 256
/** Requests a caller may take back before they are answered, per period, until it is told to calm down. */
const maxTakenBack = 200
const takenBackPeriodMilliseconds = 30_000
/** Ids of ended claimed streams that are still recognised when a late frame comes. */
const maxRemembered = 4096

/** The claimed streams of one connection, and those that were. */
export class ClaimedStreams {
  readonly #live = new Map<number, ClaimedStream>()
  readonly #ended = new Set<number>()
  #takenBack: number[] = []
  /** Highest number of a stream that was ever claimed. */
  last = 0

  get size(): number {
    return this.#live.size
  }

  get isFull(): boolean {
    return this.#live.size >= maxClaimed
  }

  get(id: number): ClaimedStream | undefined {
    return this.#live.get(id)
  }

  /** A claimed stream that is over: frames of the caller may still come. */
  isEnded(id: number): boolean {
    return this.#ended.has(id)
  }

  add(id: number, stream: ClaimedStream): void {
    this.#live.set(id, stream)
    this.last = Math.max(this.last, id)
  }

  /** Claimed, and given up at once. */
  addEnded(id: number): void {
    this.last = Math.max(this.last, id)
    this.#ended.add(id)
    if (this.#ended.size > maxRemembered) this.#ended.delete(this.#ended.values().next().value!)
  }

  /** False: it was over before. */
  end(id: number): boolean {
    if (!this.#live.delete(id)) return false
    this.addEnded(id)
    return true
  }

  /** A list of its own: what is done with it may end streams. */
  get all(): ClaimedStream[] {
    return [...this.#live.values()]
  }

  /** The caller has taken a request back. False: that happens too often. */
  takeBack(stream: ClaimedStream): boolean {
    const now = performance.now()
    if (!stream.answered) this.#takenBack.push(now)
    stream.cancel()
    if (this.#takenBack.length <= maxTakenBack) return true
    this.#takenBack = this.#takenBack.filter((at) => at > now - takenBackPeriodMilliseconds)
    return this.#takenBack.length <= maxTakenBack
  }
}
