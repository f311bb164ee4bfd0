import type { Logger } from "../../log.ts"
import type { HoldEnd, OnConcurrentSteal, PortLock, PortLocks } from "../locks/port-locks.ts"
import type { LiveSession } from "./live-session.ts"
import type { Relay } from "./relay.ts"
import { filterText, type Subscription } from "./subscription.ts"
import { targetKey } from "./target-key.ts"

export interface SessionPortsOptions {
  locks: PortLocks
  session: Pick<LiveSession, "info" | "relays"> & { agents: Pick<LiveSession["agents"], "pods"> }
  onConcurrent: OnConcurrentSteal
  log: Logger
  /** Sessions that somebody overrides are told so before their sockets are ended for a lost port, in milliseconds. */
  farewellMs?: number
}

const usualFarewellMs = 2_000

/**
 * The ports a session steals. It may have several sockets, and a dead one may look alive for long: a port belongs to the
 * socket that asked last, and every other one of the session leaves it, on this replica or another.
 */
export function sessionPorts(options: SessionPortsOptions) {
  const { locks, session, onConcurrent, log, farewellMs = usualFarewellMs } = options
  const { info, relays, agents } = session
  const lockOf = ({ port, mode, filter }: Subscription): PortLock => ({
    sessionId: info.id,
    targetKey: targetKey(info.namespace, info.target),
    port,
    mode,
    filter: filterText(filter),
    pods: agents.pods().map(({ name }) => name),
  })
  const leave = (subscription: Subscription, but?: Relay): Relay[] => {
    const leaving = [...relays].filter((relay) => relay !== but && relay.incoming.needs(subscription))
    for (const relay of leaving) relay.incoming.leave(subscription)
    return leaving
  }
  const ended = (subscription: Subscription, how: HoldEnd) => {
    const leaving = leave(subscription)
    if (how === "moved" || leaving.length === 0) return
    log.warn("a stolen port was lost", { port: subscription.port })
    // Its client comes back and asks for the port again, as anybody else has to.
    setTimeout(() => {
      for (const relay of leaving) relay.drop()
    }, farewellMs).unref()
  }

  return {
    /**
     * False: another session has the port, of this target or of another one with a pod in common.
     * @param extend the target has new pods: nobody who was there before is overridden for them
     */
    async lock(subscription: Subscription, relay: Relay, extend = false): Promise<boolean> {
      if (subscription.mode === "mirror") return true
      const how = extend && onConcurrent === "override" ? "abort" : onConcurrent
      const lock = lockOf(subscription)
      try {
        const { granted } = await locks.acquire(lock, how)
        if (!granted) return false
        // Given back while it was extended.
        if (extend && !relay.incoming.needs(subscription)) {
          this.unlock(subscription)
          return false
        }
        relay.incoming.claim(subscription)
        locks.follow(lock, (how) => ended(subscription, how))
        return true
      } catch (error) {
        // Who cannot be sure to have a port does not get it.
        log.warn("a port could not be locked", { port: subscription.port, error })
        return false
      }
    },

    /** The agents have it: now, and not before, the session's other sockets leave the port, so that it is always stolen. */
    subscribed(subscription: Subscription, relay: Relay): void {
      if (subscription.mode === "steal") leave(subscription, relay)
    },

    unlock(subscription: Subscription): void {
      if (subscription.mode === "mirror") return
      const needed = () => [...relays].some((relay) => relay.incoming.needs(subscription))
      if (needed()) return
      locks
        .release(lockOf(subscription), needed)
        .catch((error) => log.warn("a port could not be unlocked", { port: subscription.port, error }))
    },
  }
}
