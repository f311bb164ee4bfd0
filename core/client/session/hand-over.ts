import { chmodSync, mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { listenLinks, servingSide } from "../../link/index.ts"
import type { Link } from "../../link.ts"
import { type ClientMessage, compareVersions, type DaemonMessage } from "../../protocol/index.ts"
import type { AgentSession } from "../agent-session.ts"

/** While nobody has come the agent hears from here, so that it does not take the session for dead. */
const pingMs = 10_000

export interface HandOver {
  /** For `--agent-address`. */
  address: string
  /** Resolves when the one that took the session has gone, or the session itself is over. */
  ended: Promise<void>
  /** Resolves when somebody has taken the session. */
  taken: Promise<void>
  close(): void
}

/**
 * Offers a session that is open already to one other process of this user, over a unix socket in a folder nobody else
 * may enter. What both sides say is passed on; only the version is answered here, because it is agreed.
 */
export function handOver(session: AgentSession): HandOver {
  const folder = mkdtempSync(join(tmpdir(), "podside-session-"))
  chmodSync(folder, 0o700)
  const path = join(folder, "agent.sock")
  const taken = Promise.withResolvers<void>()
  const ended = Promise.withResolvers<void>()
  const { link } = session
  let client: Link<ClientMessage, DaemonMessage> | undefined
  link.receive((message) => {
    if (client) relay(message, link, client)
    else if (message.kind === "OperatorPing") link.send({ kind: "OperatorPong", value: message.value })
    else if (message.kind === "Close") ended.resolve()
  })
  link.resume()
  const pings = setInterval(() => link.send({ kind: "Ping" }), pingMs)
  const server = listenLinks(servingSide, { unix: path }, (other) => {
    if (client) {
      other.abort()
      return
    }
    client = other
    clearInterval(pings)
    other.receive((message) => {
      if (message.kind === "SwitchProtocolVersion") {
        const { protocolVersion } = session
        const value = compareVersions(message.value, protocolVersion) < 0 ? message.value : protocolVersion
        other.send({ kind: "SwitchProtocolVersionResponse", value })
      } else relay(message, other, link)
    })
    void other.ended.then(() => ended.resolve())
    taken.resolve()
  })
  void link.ended.then(() => {
    client?.close()
    ended.resolve()
  })
  return {
    address: `unix:${path}`,
    ended: ended.promise,
    taken: taken.promise,
    close() {
      clearInterval(pings)
      server.stop(true)
      client?.close()
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

/** Passes a message on, and reads no further while the other side cannot take more. */
function relay<In, Out>(message: In, from: Link<In, Out>, to: Link<Out, In>): void {
  if (to.send(message)) return
  from.pause()
  void to.whenWritable().then(() => from.resume())
}
