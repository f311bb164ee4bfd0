import { clash, type LockAnswer, type OnConcurrentSteal, type PortLock, type PortLocks } from "./port-locks.ts"

/** Locks of one process. `evict` ends a session that is in the way of an `override`. */
export class LocalPortLocks implements PortLocks {
  #locks: PortLock[] = []
  readonly #evict: (sessionId: string, why: string) => Promise<void>

  constructor(evict: (sessionId: string, why: string) => Promise<void>) {
    this.#evict = evict
  }

  async acquire(lock: PortLock, onConcurrent: OnConcurrentSteal): Promise<LockAnswer> {
    const inTheWay = this.#locks.filter((other) => clash(lock, other))
    const [holder] = inTheWay
    if (holder && onConcurrent === "abort") return { granted: false, holder }
    // Taken before anything is awaited, so that two overrides cannot both believe to be alone.
    this.#remove((other) => same(other, lock) || (onConcurrent === "override" && inTheWay.includes(other)))
    this.#locks.push(lock)
    if (onConcurrent === "override") {
      const why = `another session took port ${lock.port} over`
      await Promise.all(inTheWay.map(({ sessionId }) => this.#evict(sessionId, why)))
    }
    return { granted: true }
  }

  async release(lock: Pick<PortLock, "sessionId" | "targetKey" | "port">): Promise<void> {
    this.#remove((other) => same(other, lock))
  }

  async releaseAll(sessionId: string): Promise<void> {
    this.#remove((other) => other.sessionId === sessionId)
  }

  list(): readonly PortLock[] {
    return this.#locks
  }

  #remove(condition: (lock: PortLock) => boolean): void {
    this.#locks = this.#locks.filter((lock) => !condition(lock))
  }
}

function same(one: Pick<PortLock, "sessionId" | "targetKey" | "port">, other: typeof one): boolean {
  return one.sessionId === other.sessionId && one.targetKey === other.targetKey && one.port === other.port
}
