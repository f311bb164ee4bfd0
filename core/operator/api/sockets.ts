import type { Duplex } from "node:stream"
import { servedWebSocketLink, servingSide, switchingProtocols } from "../../link/index.ts"
import type { Link } from "../../link.ts"
import type { ClientMessage, DaemonMessage } from "../../protocol/index.ts"
import { badRequest } from "./status.ts"
import type { UpgradeRequest } from "./upgrade-request.ts"

/** mirrord's clients offer and expect exactly this; there is no channel byte in spite of the name. */
const subprotocol = "v4.channel.k8s.io"
const version = "13"

/** @throws StatusError 400 when the request is no upgrade a client of ours would send */
export function assertUpgradable({ method, headers }: UpgradeRequest): void {
  const offered = (text(headers, "sec-websocket-protocol") ?? "").split(",").map((protocol) => protocol.trim())
  if (!offered.includes(subprotocol)) throw badRequest(`The WebSocket must offer the subprotocol ${subprotocol}`)
  const isWebSocket = text(headers, "upgrade")?.toLowerCase() === "websocket"
  if (method !== "GET" || !isWebSocket) throw badRequest("Only a WebSocket can be opened here")
  if (text(headers, "sec-websocket-version") !== version)
    throw badRequest(`The WebSocket must be of version ${version}`)
  // Sixteen bytes in base64.
  if (!/^[A-Za-z0-9+/]{22}==$/.test(text(headers, "sec-websocket-key") ?? "")) {
    throw badRequest("The header Sec-WebSocket-Key is missing or malformed")
  }
}

/** Completes an upgrade that `assertUpgradable` let pass; from then on the socket belongs to the link. */
export function acceptClient(
  { headers }: UpgradeRequest,
  socket: Duplex,
  early: () => Buffer,
): Link<ClientMessage, DaemonMessage> {
  if (!socket.writable) throw new Error("the client left before the upgrade was complete")
  if ("setNoDelay" in socket) (socket as { setNoDelay(on: boolean): void }).setNoDelay(true)
  socket.write(switchingProtocols(text(headers, "sec-websocket-key") ?? "", subprotocol))
  return servedWebSocketLink(socket, early(), servingSide)
}

function text(headers: UpgradeRequest["headers"], name: string): string | undefined {
  const value = headers[name]
  return Array.isArray(value) ? value.join(", ") : value
}
