import type { Logger } from "../../log.ts"
import type { Session } from "../../session.ts"
import { formatTarget } from "../../target.ts"
import type { SessionSpec } from "../api/resources.ts"
import type { PortLock } from "../locks/port-locks.ts"
import type { Relay } from "./relay.ts"
import type { SessionAgents } from "./session-agents.ts"
import type { Mode } from "./subscription.ts"

/** What is known about a session on every replica. */
export interface SessionFacts {
  /** What plugins see; `id` is upper-case hexadecimal. */
  info: Session
  number: bigint
  /** Key of the client's certificate: with the Kubernetes user, what a returning client must show again. */
  userId: string
  /** Groups sessions that belong together. */
  key: string | undefined
  headerFilter: string | undefined
  /** From a CI credential. */
  ci: boolean
  /** Ports it has had, for the record of its end. */
  ports: UsedPorts
}

export type UsedPorts = Readonly<Record<Mode, readonly number[]>>

/** A session may ask for any port; what is kept of them is bounded. */
const maxUsedPorts = 64

export const noPorts: UsedPorts = { mirror: [], steal: [] }

/** @returns the same when nothing is new */
export function withPort(ports: UsedPorts, mode: Mode, port: number): UsedPorts {
  const known = ports[mode]
  if (known.includes(port) || known.length >= maxUsedPorts) return ports
  return { ...ports, [mode]: [...known, port] }
}

/** A session with sockets on this replica. */
export interface LiveSession extends SessionFacts {
  agents: SessionAgents
  relays: Set<Relay>
  /** Names the session in every line. */
  log: Logger
}

export const formatSessionId = (id: bigint): string => id.toString(16).toUpperCase()

/** `local/kubernetes@host`, as every table shows it. */
export function displayUser({ identity, client }: Session): string {
  return `${client.user ?? "unknown"}/${identity.user}@${client.hostname ?? "unknown"}`
}

/** A lock as the API shows it. */
export function lockedPort({ port, filter, mode }: PortLock) {
  const kind = mode === "mirror" ? "mirror" : filter === undefined ? "steal" : "steal-filtered"
  return { port, kind, filter: filter ?? null }
}

/** The session as the API shows it. */
export function sessionSpec(session: SessionFacts, locks: readonly PortLock[], now = Date.now()): SessionSpec {
  const { info, userId, key, headerFilter } = session
  return {
    id: info.id,
    // Opened by another replica, whose clock may be ahead; clients read an unsigned number.
    duration_secs: Math.max(0, Math.floor((now - info.openedAt.getTime()) / 1000)),
    user: displayUser(info),
    target: formatTarget(info.target),
    namespace: info.namespace,
    locked_ports: locks.filter((lock) => lock.sessionId === info.id).map(lockedPort),
    user_id: userId,
    key: key ?? null,
    http_filter: headerFilter === undefined ? null : { headerFilter },
  }
}
