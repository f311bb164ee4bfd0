import { createServer } from "node:http"
import { createServer as createTlsServer } from "node:https"
import { type AddressInfo, connect, createServer as createTcpServer } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { connect as secure } from "node:tls"
import { WebSocketServer } from "ws"
import {
  askingSide,
  connectLink,
  duplexLink,
  type LinkLimits,
  linkPair,
  listenLinks,
  servedWebSocketLink,
  servingSide,
  switchingProtocols,
  webSocketLink,
} from "../../core/link/index.ts"
import type { Link } from "../../core/link.ts"
import { openSocket, SOCK_STREAM } from "../../core/linux/socket.ts"
import { syscall } from "../../core/linux/syscall.ts"
import type { ClientMessage, DaemonMessage } from "../../core/protocol/index.ts"
import { certificate } from "./localhost-certificate.ts"

/* Links over every carrier there is, for tests of what they have in common. */

const AF_INET = 2

export type Ends = { client: Link<DaemonMessage, ClientMessage>; agent: Link<ClientMessage, DaemonMessage> }

/** What the tests of a file leave to be undone at its end. */
export const undo: (() => void)[] = []

type Limits = Partial<LinkLimits>

async function overBunSocket(address: "tcp" | "unix" | "tls", limits?: Limits): Promise<Ends> {
  const accepted = Promise.withResolvers<Ends["agent"]>()
  const unix = join(tmpdir(), `podside-link-${process.pid}-${crypto.randomUUID()}.sock`)
  const where = address === "unix" ? { unix } : { hostname: "127.0.0.1", port: 0 }
  const serverTls = address === "tls" ? { tls: { cert: certificate.cert, key: certificate.key } } : {}
  const listener = listenLinks(servingSide, where, accepted.resolve, { ...serverTls, limits })
  undo.push(() => listener.stop(true))
  const target = "unix" in where ? where : { hostname: "127.0.0.1", port: (listener as { port: number }).port }
  const clientTls = address === "tls" ? { tls: { ca: certificate.cert, serverName: "localhost" } } : {}
  const client = await connectLink(askingSide, target, { ...clientTls, limits })
  return { client, agent: await accepted.promise }
}

/** The end that dials is the TLS server, as between operator and agent. */
async function overTurnedTls(limits?: Limits): Promise<Ends> {
  const accepted = Promise.withResolvers<Ends["agent"]>()
  const server = createTcpServer({ allowHalfOpen: true }, (socket) => {
    const secured = secure({ socket, ca: certificate.cert, servername: "localhost" })
    secured.once("secureConnect", () => accepted.resolve(duplexLink(secured, servingSide, limits)))
  })
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
  undo.push(() => server.close())
  const address = { hostname: "127.0.0.1", port: (server.address() as AddressInfo).port }
  const client = await connectLink(askingSide, address, { tls: { asServer: certificate }, limits })
  return { client, agent: await accepted.promise }
}

/** The client's end is a descriptor whose connection is only being made when the link takes it over. */
async function overDescriptors(limits?: Limits): Promise<Ends> {
  const accepted = Promise.withResolvers<Ends["agent"]>()
  const listener = listenLinks(servingSide, { hostname: "127.0.0.1", port: 0 }, accepted.resolve, { limits }) as {
    port: number
    stop(now: boolean): void
  }
  undo.push(() => listener.stop(true))
  const fd = openSocket(AF_INET, SOCK_STREAM)
  const address = Buffer.alloc(16)
  address.writeUInt16LE(AF_INET, 0)
  address.writeUInt16BE(listener.port, 2)
  address.set([127, 0, 0, 1], 4)
  // The socket does not block, so this is "in progress" or done.
  syscall("connect", fd, address, address.length)
  return { client: await connectLink(askingSide, { fd }, { limits }), agent: await accepted.promise }
}

async function overNodeStreams(limits?: Limits): Promise<Ends> {
  const accepted = Promise.withResolvers<Ends["agent"]>()
  const server = createTcpServer({ allowHalfOpen: true }, (socket) =>
    accepted.resolve(duplexLink(socket, servingSide, limits)),
  )
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
  undo.push(() => server.close())
  const socket = connect({ port: (server.address() as AddressInfo).port, host: "127.0.0.1", allowHalfOpen: true })
  await new Promise((resolve) => socket.once("connect", resolve))
  return { client: duplexLink(socket, askingSide, limits), agent: await accepted.promise }
}

async function overWebSockets(limits?: Limits): Promise<Ends> {
  const accepted = Promise.withResolvers<Ends["agent"]>()
  const http = createServer()
  const upgrader = new WebSocketServer({ noServer: true, perMessageDeflate: false })
  http.on("upgrade", (request, socket, head) => {
    upgrader.handleUpgrade(request, socket, head, (ws) =>
      accepted.resolve(webSocketLink(ws as never, servingSide, limits)),
    )
  })
  await new Promise<void>((resolve) => http.listen(0, "127.0.0.1", resolve))
  undo.push(() => http.close())
  const ws = new WebSocket(`ws://127.0.0.1:${(http.address() as AddressInfo).port}/`)
  await new Promise((resolve, reject) => {
    ws.onopen = resolve
    ws.onerror = reject
  })
  return { client: webSocketLink(ws as never, askingSide, limits), agent: await accepted.promise }
}

/** The serving side reads and writes the frames itself. */
async function overServedWebSocket(tls: boolean, limits?: Limits): Promise<Ends> {
  const { agent, ws } = await servedWebSocket(tls, limits)
  return { client: webSocketLink(ws as never, askingSide, limits), agent }
}

export async function servedWebSocket(tls = false, limits?: Limits): Promise<{ agent: Ends["agent"]; ws: WebSocket }> {
  const accepted = Promise.withResolvers<Ends["agent"]>()
  const http = tls ? createTlsServer(certificate) : createServer()
  http.on("upgrade", (request, socket, head) => {
    socket.write(switchingProtocols(request.headers["sec-websocket-key"] ?? "", "a"))
    accepted.resolve(servedWebSocketLink(socket, head, servingSide, limits))
  })
  await new Promise<void>((resolve) => http.listen(0, "127.0.0.1", resolve))
  undo.push(() => http.close())
  const { port } = http.address() as AddressInfo
  const options = { protocols: ["a"], tls: { ca: certificate.cert, serverName: "localhost" } }
  const ws = new WebSocket(`${tls ? "wss" : "ws"}://127.0.0.1:${port}/`, options as never)
  await new Promise((resolve, reject) => {
    ws.onopen = resolve
    ws.onerror = reject
  })
  return { ws, agent: await accepted.promise }
}

export const carriers: [name: string, open: (limits?: Limits) => Promise<Ends>][] = [
  ["memory", async (limits) => linkPair(limits)],
  ["Bun TCP sockets", (limits) => overBunSocket("tcp", limits)],
  ["Bun unix sockets", (limits) => overBunSocket("unix", limits)],
  ["Bun TLS sockets", (limits) => overBunSocket("tls", limits)],
  ["Bun sockets that are dialled by the TLS server", overTurnedTls],
  ["adopted descriptors", overDescriptors],
  ["node streams", overNodeStreams],
  ["WebSockets", overWebSockets],
  ["a served WebSocket", (limits) => overServedWebSocket(false, limits)],
  ["a served WebSocket over TLS", (limits) => overServedWebSocket(true, limits)],
]

const pattern = Uint8Array.from({ length: 1024 * 1024 }, (_, i) => (i * 7 + (i >> 8)) & 255)
/** A piece of the pattern that differs for each seed. */
export const payload = (size: number, seed: number) => pattern.slice(seed, seed + size)
/** A datagram: its borders count. */
export const data = (seed: number, size: number): DaemonMessage => ({
  kind: "UdpOutgoing",
  value: { kind: "Read", value: { kind: "Ok", value: { connectionId: BigInt(seed), bytes: payload(size, seed) } } },
})
/** A part of a byte stream, without bytes its end. */
export const part = (seed: number, size: number): DaemonMessage => ({
  kind: "TcpSteal",
  value: { kind: "Data", value: { connectionId: BigInt(seed), bytes: payload(size, seed) } },
})

/** Messages as they arrive, to wait for. */
export function inbox<In>(link: Link<In, never>): { messages: In[]; until(count: number): Promise<void> } {
  const messages: In[] = []
  let wake = () => {}
  link.receive((message) => {
    messages.push(message)
    wake()
  })
  return {
    messages,
    async until(count) {
      while (messages.length < count) await new Promise<void>((resolve) => (wake = resolve))
    },
  }
}
