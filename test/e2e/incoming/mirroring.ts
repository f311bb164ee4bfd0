import { type TestClient, within } from "../../../agent/test-agent.ts"
import type { ClientMessage, DaemonMessage } from "../../../core/protocol/index.ts"
import { NfTables } from "../../../plugins/interception/agent/nf-tables.ts"
import type { Pod } from "./pod.ts"

/* A mirroring client, and what the agents' rules say about ports. */

export const mirror = (port: number): ClientMessage => ({ kind: "Tcp", value: { kind: "PortSubscribe", value: port } })
export const leave = (port: number): ClientMessage => ({ kind: "Tcp", value: { kind: "PortUnsubscribe", value: port } })

/** What a mirroring client has been sent. */
export interface Seen {
  /** By connection: what came, and how it ended. */
  connections: Map<bigint, { text: Buffer[]; ended: boolean; closed: boolean }>
  warnings: string[]
  /** Resolves once `holds` does. */
  until(what: string, holds: () => boolean): Promise<void>
}

export function watch(client: TestClient): Seen {
  let check = () => {}
  const seen: Seen = {
    connections: new Map(),
    warnings: [],
    until: (what, holds) =>
      within(
        what,
        new Promise((resolve) => {
          check = () => holds() && resolve()
          check()
        }),
      ),
  }
  client.takeOver((message: DaemonMessage) => {
    if (message.kind === "LogMessage") seen.warnings.push(message.value.message)
    else if (message.kind === "Tcp") {
      const { kind, value } = message.value
      if (kind === "NewConnectionV2") {
        seen.connections.set(value.connection.connectionId, { text: [], ended: false, closed: false })
      } else if (kind === "Data") {
        const connection = seen.connections.get(value.connectionId)!
        if (value.bytes.length === 0) connection.ended = true
        else connection.text.push(Buffer.from(value.bytes))
      } else if (kind === "Close") seen.connections.get(value.connectionId)!.closed = true
    }
    check()
  })
  return seen
}

export const textOf = ({ text }: { text: Buffer[] }) => Buffer.concat(text).toString("latin1")
export const bytesSeen = ({ connections }: Seen) =>
  [...connections.values()].flatMap(({ text }) => text).reduce((sum, { length }) => sum + length, 0)

/** The ports in a set of the agents' tables. */
export function portsIn(pod: Pod, set: "ports" | "copied" | "formerly_copied"): number[] {
  return pod.inPod(() =>
    withTables((nfTables) =>
      nfTables.tables().flatMap((table) => {
        try {
          return nfTables.ports(table, set)
        } catch {
          return []
        }
      }),
    ),
  )
}

export const tablesIn = (pod: Pod) => pod.inPod(() => withTables((nfTables) => nfTables.tables()))

function withTables<T>(look: (nfTables: NfTables) => T): T {
  const nfTables = new NfTables()
  try {
    return look(nfTables)
  } finally {
    nfTables.close()
  }
}
