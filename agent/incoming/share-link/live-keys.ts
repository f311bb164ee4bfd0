/** Of one client; an operator has one for each session that was shared. */
const maxKeysOfClient = 10_000
const maxKeyCharacters = 512
/** What may stand in a URL, a cookie and a baggage header alike. */
const usable = /^[!#$%&'()*+\-./0-9:<=>?@A-Z[\]^_`a-z{|}~]+$/

/** The keys by which shared links name sessions that are going on. Counted by client: a key lives as long as somebody holds it. */
export class LiveKeys {
  readonly #holders = new Map<string, number>()
  #used = false

  /** Whether there ever was a key: before that, links are nothing to look for. */
  get used(): boolean {
    return this.#used
  }

  has(key: string): boolean {
    return this.#holders.has(key)
  }

  /** What one client holds. */
  ofClient(): ClientKeys {
    const own = new Set<string>()
    const release = (key: string) => {
      if (!own.delete(key)) return
      const left = this.#holders.get(key)! - 1
      if (left === 0) this.#holders.delete(key)
      else this.#holders.set(key, left)
    }
    return {
      register: (key) => {
        if (own.has(key)) return true
        if (own.size >= maxKeysOfClient || key.length > maxKeyCharacters || !usable.test(key)) return false
        own.add(key)
        this.#used = true
        this.#holders.set(key, (this.#holders.get(key) ?? 0) + 1)
        return true
      },
      remove: release,
      close() {
        for (const key of own) release(key)
      },
    }
  }
}

export interface ClientKeys {
  /** Once or more often is the same. False: too many, or none that a link could carry. */
  register(key: string): boolean
  remove(key: string): void
  close(): void
}
