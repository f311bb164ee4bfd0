/** Writes that are still on their way, so that whoever looks at a file next sees them. */
export class PendingWrites {
  readonly #byPath = new Map<string, Promise<void>>()

  add(path: string, write: Promise<void>): void {
    const settled = write.catch(() => {})
    const all = Promise.all([this.#byPath.get(path), settled]).then(() => {
      if (this.#byPath.get(path) === all) this.#byPath.delete(path)
    })
    this.#byPath.set(path, all)
  }

  /** Resolves when everything written to this path before has arrived. */
  async settled(path: string): Promise<void> {
    await this.#byPath.get(path)
  }

  async allSettled(): Promise<void> {
    while (this.#byPath.size > 0) await Promise.all(this.#byPath.values())
  }
}
