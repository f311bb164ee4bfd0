import type { Socket, TCPSocketListener, UnixSocketListener } from "bun"
import { bunSocketHandlers, type StreamAddress, servingSide } from "../core/link/index.ts"
import type { Logger } from "../core/log.ts"
import { type ClientMessage, type DaemonMessage, upgradeToken } from "../core/protocol/index.ts"
import type { ClientLink } from "./client-link.ts"
import type { Visitor } from "./clients.ts"
import { firstByteOfRequest, UpgradeRequest } from "./upgrade-request.ts"

/** How long a client may take for its request, in milliseconds. */
const requestLimitMs = 10_000

const switching = Buffer.from(
  `HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: ${upgradeToken}\r\n\r\n`,
)
const refusal = Buffer.from("HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")

/** What becomes `socket.data`: the link's, and how far the connection's beginning is. */
interface Beginning {
  visitor?: Visitor
  link?: { close(): void }
  request?: UpgradeRequest
  limit?: ReturnType<typeof setTimeout>
  /** Everything that comes is the link's. */
  begun?: true
}

/**
 * A listener whose every stream becomes a link, at once. A client may ask by HTTP first: then its link begins behind our answer,
 * and until then it has said nothing. @throws what `Bun.listen` throws
 */
export function listenUpgradable(
  address: StreamAddress,
  log: Logger,
  onLink: (link: ClientLink) => Visitor | undefined,
  limitMs = requestLimitMs,
): TCPSocketListener<unknown> | UnixSocketListener<unknown> {
  const links = bunSocketHandlers<ClientMessage, DaemonMessage>(servingSide, (link, socket) => {
    ;(socket.data as Beginning).visitor = onLink(link)
  })
  const toLink = links.data as (socket: Socket<Beginning>, chunk: Uint8Array) => void

  const refuse = (socket: Socket<Beginning>) => {
    log.debug("a request that asks for no upgrade was refused")
    leaveRequest(socket.data)
    socket.write(refusal)
    socket.data.link?.close()
  }
  const readRequest = (socket: Socket<Beginning>, chunk: Uint8Array) => {
    const { data } = socket
    if (!data.request) {
      data.request = new UpgradeRequest()
      data.limit = setTimeout(() => refuse(socket), limitMs)
      data.limit.unref()
    }
    const outcome = data.request.push(chunk)
    if (outcome === "incomplete") return
    if (outcome === "refused") return refuse(socket)
    const { moveToken, rest } = outcome
    if (moveToken !== undefined && !data.visitor?.carries(moveToken)) return refuse(socket)
    leaveRequest(data)
    socket.write(switching)
    if (rest.length > 0) toLink(socket, rest)
  }

  return Bun.listen({
    ...address,
    allowHalfOpen: true,
    data: {},
    socket: {
      ...links,
      data(socket: Socket<Beginning>, chunk: Uint8Array) {
        const { data } = socket
        if (data.begun) return toLink(socket, chunk)
        if (data.request || chunk[0] === firstByteOfRequest) return readRequest(socket, chunk)
        data.begun = true
        toLink(socket, chunk)
      },
      close(socket: Socket<Beginning>, error?: Error) {
        clearTimeout(socket.data.limit)
        links.close?.(socket as never, error)
      },
    },
  } as never)
}

function leaveRequest(data: Beginning): void {
  clearTimeout(data.limit)
  data.limit = undefined
  data.request = undefined
  data.begun = true
}
