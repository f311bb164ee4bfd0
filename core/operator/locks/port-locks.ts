import type { Mode } from "../session/subscription.ts"

export type OnConcurrentSteal = "abort" | "continue" | "override"

/** One session's hold on a port of a target. */
export interface PortLock {
  sessionId: string
  /** "shop/deployment/api": namespace and target, whatever container was named. */
  targetKey: string
  port: number
  mode: Mode
  /** Text of the HTTP filter; absent when the whole port is stolen. */
  filter?: string
  /** Names of the target's pods when the lock was taken: two targets may have pods in common. */
  pods: readonly string[]
}

export type LockAnswer = { granted: true } | { granted: false; holder: PortLock }

/**
 * `moved`: the session has the port on another replica now. `lost`: it has it no more; somebody took it over, or this
 * replica was silent for so long that it was taken for dead.
 */
export type HoldEnd = "moved" | "lost"

/** Who steals which port. Only stealing without a filter excludes others; mirroring never does. */
export interface PortLocks {
  /** `override` ends the sessions in the way first. */
  acquire(lock: PortLock, onConcurrent: OnConcurrentSteal): Promise<LockAnswer>
  /** Calls `onEnd`, perhaps at once, when a lock that was granted here ends although nobody here gave it back. */
  follow(lock: PortLock, onEnd: (how: HoldEnd) => void): void
  /** `needed` is asked at the last moment: who wants the port again meanwhile keeps it. */
  release(lock: Pick<PortLock, "sessionId" | "targetKey" | "port">, needed?: () => boolean): Promise<void>
  /** Everything a session holds. */
  releaseAll(sessionId: string): Promise<void>
  list(): readonly PortLock[]
}

/** The lock's namespace, which is the target's. */
export const namespaceOf = ({ targetKey }: Pick<PortLock, "targetKey">): string =>
  targetKey.slice(0, targetKey.indexOf("/"))

/** Would the two disturb each other? */
export function clash(one: PortLock, other: PortLock): boolean {
  return (
    one.sessionId !== other.sessionId &&
    one.port === other.port &&
    namespaceOf(one) === namespaceOf(other) &&
    (one.targetKey === other.targetKey || one.pods.some((pod) => other.pods.includes(pod))) &&
    one.mode === "steal" &&
    other.mode === "steal" &&
    (one.filter === undefined || other.filter === undefined)
  )
}
