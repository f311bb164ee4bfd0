interface Writable {
  whenWritable(): Promise<void>
}

interface Pausable {
  pause(): void
  resume(): void
}

/**
 * Couples the ends of a relay: while one side cannot take more, those that produce for it are not read. Every producer is
 * paused at most once for each full side.
 */
export class Congestion {
  readonly #full = new Map<Writable, Set<Pausable>>()

  /** `to` said that it has enough: `from` is paused until it has room again. */
  hold(to: Writable, from: Pausable): void {
    const held = this.#full.get(to)
    if (held?.has(from)) return
    from.pause()
    if (held) {
      held.add(from)
      return
    }
    const producers = new Set([from])
    this.#full.set(to, producers)
    void to.whenWritable().then(() => {
      this.#full.delete(to)
      for (const producer of producers) producer.resume()
    })
  }
}
