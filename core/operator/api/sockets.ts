import type { IncomingMessage } from "node:http"
import type { Duplex } from "node:stream"
import { type WebSocket, WebSocketServer } from "ws"
import { servingSide, webSocketLink } from "../../link/index.ts"
import type { Link } from "../../link.ts"
import { type ClientMessage, type DaemonMessage, defaultLimits } from "../../protocol/index.ts"
import { badRequest } from "./status.ts"

/** mirrord's clients offer and expect exactly this; there is no channel byte in spite of the name. */
const subprotocol = "v4.channel.k8s.io"

const server = new WebSocketServer({
  noServer: true,
  clientTracking: false,
  perMessageDeflate: false,
  maxPayload: defaultLimits.maxMessageBytes,
  handleProtocols: () => subprotocol,
})

/** @throws StatusError 400 when the request is no upgrade a client of ours would send */
export function assertUpgradable({ headers }: IncomingMessage): void {
  const offered = (headers["sec-websocket-protocol"] ?? "").split(",").map((protocol) => protocol.trim())
  if (!offered.includes(subprotocol)) throw badRequest(`The WebSocket must offer the subprotocol ${subprotocol}`)
}

/** Completes the upgrade; from then on the socket belongs to the link. */
export function acceptClient(
  request: IncomingMessage,
  socket: Duplex,
  head: Buffer,
): Promise<Link<ClientMessage, DaemonMessage>> {
  return new Promise((resolve, reject) => {
    const failed = () => reject(new Error("the client left before the upgrade was complete"))
    socket.once("close", failed)
    server.handleUpgrade(request, socket, head, (client) => {
      socket.off("close", failed)
      resolve(webSocketLink(client as WebSocket & { onmessage: null }, servingSide))
    })
  })
}
