import type { PortLock } from "../../core/operator/locks/port-locks.ts"
import type { Lease } from "../../core/operator/replicas/lease.ts"
import type { ChangedRecord } from "../../core/operator/replicas/records.ts"
import { formatSessionId, noPorts } from "../../core/operator/session/live-session.ts"
import type { ListedSession } from "../../core/operator/session/registry.ts"
import { SessionChanges } from "../../core/operator/session/session-changes.ts"
import { sessionRecordName } from "../../core/operator/session/session-record.ts"

export function listedSession(number: bigint, more: Partial<ListedSession> = {}): ListedSession {
  return {
    number,
    info: {
      id: formatSessionId(number),
      identity: { user: "ann", groups: [], extra: {} },
      target: { kind: "deployment", name: "web" },
      namespace: "shop",
      labels: {},
      client: {},
      openedAt: new Date(Date.now() - 330_000),
    },
    userId: "A".repeat(43),
    key: undefined,
    headerFilter: undefined,
    ci: false,
    ports: noPorts,
    connected: true,
    uid: `uid-${number}`,
    version: 1n,
    ...more,
  }
}

export const portLock = (sessionId: string, port: number): PortLock => ({
  sessionId,
  targetKey: "shop/deployment/web",
  port,
  mode: "steal",
  pods: [],
})

/** What the watch of Kubernetes has told a replica about sessions and ports, one version after the other. */
export function toldSessions() {
  const sessions = new Map<string, ListedSession>()
  const locks = new Map<string, readonly PortLock[]>()
  const listeners = new Set<(changed?: ChangedRecord) => void>()
  let version = 100n
  const lease = (name: string): Lease => ({ apiVersion: "", kind: "Lease", metadata: { name } })
  const told = (kind: string, name: string) => {
    version++
    for (const listener of listeners) listener({ kind, name })
    return version
  }
  const changes = new SessionChanges({
    records: {
      get version() {
        return version
      },
      told: (kind) => [...(kind === "session" ? sessions : locks).keys()].map(lease),
      toldOf: (name) => (sessions.has(name) || locks.has(name) ? lease(name) : undefined),
      onChange: (listener) => {
        listeners.add(listener)
        return () => listeners.delete(listener)
      },
    },
    session: (of) => of && sessions.get(of.metadata.name),
    locks: (of) => (of && locks.get(of.metadata.name)) ?? [],
  })
  return {
    changes,
    list: () => [...sessions.values()],
    /** A session is there, as it is now. @returns the version of that */
    put(session: ListedSession): bigint {
      const name = sessionRecordName(session.number)
      sessions.set(name, { ...session, version: version + 1n })
      return told("session", name)
    },
    end(number: bigint): bigint {
      sessions.delete(sessionRecordName(number))
      return told("session", sessionRecordName(number))
    },
    /** Who holds a port; nobody, when nobody is said. */
    hold(port: number, ...ids: string[]): bigint {
      if (ids.length > 0)
        locks.set(
          `port-${port}`,
          ids.map((id) => portLock(id, port)),
        )
      else locks.delete(`port-${port}`)
      return told("port-lock", `port-${port}`)
    },
    /** Something else has happened, of which nobody here cares. */
    beat: () => told("replica", "podside-replica-a"),
    /** The watch was lost and everything was listed again. */
    startOver() {
      version += 10n
      for (const listener of listeners) listener(undefined)
    },
  }
}
