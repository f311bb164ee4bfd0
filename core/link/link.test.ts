import { afterAll, describe, expect, test } from "bun:test"
import { createServer } from "node:http"
import { createServer as createTlsServer } from "node:https"
import { type AddressInfo, connect, createServer as createTcpServer, type Socket } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { PassThrough } from "node:stream"
import { connect as secure } from "node:tls"
import { WebSocketServer } from "ws"
import { certificate } from "../../test/fakes/localhost-certificate.ts"
import type { Link } from "../link.ts"
import { openSocket, SOCK_STREAM } from "../linux/socket.ts"
import { syscall } from "../linux/syscall.ts"
import type { ClientMessage, DaemonMessage } from "../protocol/index.ts"
import {
  askingSide,
  connectLink,
  duplexLink,
  linkPair,
  listenLinks,
  servedWebSocketLink,
  servingSide,
  switchingProtocols,
  webSocketLink,
} from "./index.ts"

const AF_INET = 2

type Ends = { client: Link<DaemonMessage, ClientMessage>; agent: Link<ClientMessage, DaemonMessage> }

const undo: (() => void)[] = []
afterAll(() => {
  for (const step of undo) step()
})

async function overBunSocket(address: "tcp" | "unix" | "tls"): Promise<Ends> {
  const accepted = Promise.withResolvers<Ends["agent"]>()
  const unix = join(tmpdir(), `podside-link-${process.pid}-${crypto.randomUUID()}.sock`)
  const where = address === "unix" ? { unix } : { hostname: "127.0.0.1", port: 0 }
  const serverTls = address === "tls" ? { tls: { cert: certificate.cert, key: certificate.key } } : {}
  const listener = listenLinks(servingSide, where, accepted.resolve, serverTls)
  undo.push(() => listener.stop(true))
  const target = "unix" in where ? where : { hostname: "127.0.0.1", port: (listener as { port: number }).port }
  const clientTls = address === "tls" ? { tls: { ca: certificate.cert, serverName: "localhost" } } : {}
  const client = await connectLink(askingSide, target, clientTls)
  return { client, agent: await accepted.promise }
}

/** The end that dials is the TLS server, as between operator and agent. */
async function overTurnedTls(): Promise<Ends> {
  const accepted = Promise.withResolvers<Ends["agent"]>()
  const server = createTcpServer({ allowHalfOpen: true }, (socket) => {
    const secured = secure({ socket, ca: certificate.cert, servername: "localhost" })
    secured.once("secureConnect", () => accepted.resolve(duplexLink(secured, servingSide)))
  })
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
  undo.push(() => server.close())
  const address = { hostname: "127.0.0.1", port: (server.address() as AddressInfo).port }
  const client = await connectLink(askingSide, address, { tls: { asServer: certificate } })
  return { client, agent: await accepted.promise }
}

/** The client's end is a descriptor whose connection is only being made when the link takes it over. */
async function overDescriptors(): Promise<Ends> {
  const accepted = Promise.withResolvers<Ends["agent"]>()
  const listener = listenLinks(servingSide, { hostname: "127.0.0.1", port: 0 }, accepted.resolve) as {
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
  return { client: await connectLink(askingSide, { fd }), agent: await accepted.promise }
}

async function overNodeStreams(): Promise<Ends> {
  const accepted = Promise.withResolvers<Ends["agent"]>()
  const server = createTcpServer({ allowHalfOpen: true }, (socket) => accepted.resolve(duplexLink(socket, servingSide)))
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
  undo.push(() => server.close())
  const socket = connect({ port: (server.address() as AddressInfo).port, host: "127.0.0.1", allowHalfOpen: true })
  await new Promise((resolve) => socket.once("connect", resolve))
  return { client: duplexLink(socket, askingSide), agent: await accepted.promise }
}

async function overWebSockets(): Promise<Ends> {
  const accepted = Promise.withResolvers<Ends["agent"]>()
  const http = createServer()
  const upgrader = new WebSocketServer({ noServer: true, perMessageDeflate: false })
  http.on("upgrade", (request, socket, head) => {
    upgrader.handleUpgrade(request, socket, head, (ws) => accepted.resolve(webSocketLink(ws as never, servingSide)))
  })
  await new Promise<void>((resolve) => http.listen(0, "127.0.0.1", resolve))
  undo.push(() => http.close())
  const ws = new WebSocket(`ws://127.0.0.1:${(http.address() as AddressInfo).port}/`)
  await new Promise((resolve, reject) => {
    ws.onopen = resolve
    ws.onerror = reject
  })
  return { client: webSocketLink(ws as never, askingSide), agent: await accepted.promise }
}

/** The serving side reads and writes the frames itself. */
async function overServedWebSocket(tls: boolean): Promise<Ends> {
  const { agent, ws } = await servedWebSocket(tls)
  return { client: webSocketLink(ws as never, askingSide), agent }
}

async function servedWebSocket(tls = false): Promise<{ agent: Ends["agent"]; ws: WebSocket }> {
  const accepted = Promise.withResolvers<Ends["agent"]>()
  const http = tls ? createTlsServer(certificate) : createServer()
  http.on("upgrade", (request, socket, head) => {
    socket.write(switchingProtocols(request.headers["sec-websocket-key"] ?? "", "a"))
    accepted.resolve(servedWebSocketLink(socket, head, servingSide))
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

const carriers: [string, () => Promise<Ends>][] = [
  ["memory", async () => linkPair()],
  ["Bun TCP sockets", () => overBunSocket("tcp")],
  ["Bun unix sockets", () => overBunSocket("unix")],
  ["Bun TLS sockets", () => overBunSocket("tls")],
  ["Bun sockets that are dialled by the TLS server", overTurnedTls],
  ["adopted descriptors", overDescriptors],
  ["node streams", overNodeStreams],
  ["WebSockets", overWebSockets],
  ["a served WebSocket", () => overServedWebSocket(false)],
  ["a served WebSocket over TLS", () => overServedWebSocket(true)],
]

const pattern = Uint8Array.from({ length: 1024 * 1024 }, (_, i) => (i * 7 + (i >> 8)) & 255)
/** A piece of the pattern that differs for each seed. */
const payload = (size: number, seed: number) => pattern.slice(seed, seed + size)
/** A datagram: its borders count. */
const data = (seed: number, size: number): DaemonMessage => ({
  kind: "UdpOutgoing",
  value: { kind: "Read", value: { kind: "Ok", value: { connectionId: BigInt(seed), bytes: payload(size, seed) } } },
})
/** A part of a byte stream, without bytes its end. */
const part = (seed: number, size: number): DaemonMessage => ({
  kind: "TcpSteal",
  value: { kind: "Data", value: { connectionId: BigInt(seed), bytes: payload(size, seed) } },
})

/** Messages as they arrive, to wait for. */
function inbox<In>(link: Link<In, never>): { messages: In[]; until(count: number): Promise<void> } {
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

describe.each(carriers)("a link over %s", (_name, open) => {
  test("carries messages of all sizes both ways, in order", async () => {
    const { client, agent } = await open()
    const sizes = [0, 1, 250, 251, 8191, 8192, 65_536, 300_000, 3]
    const atClient = inbox(client as never)
    const atAgent = inbox(agent as never)
    const sent = sizes.map((size, seed) => data(seed, size))
    for (const message of sent) agent.send(message)
    client.send({ kind: "Ping" })
    client.send({ kind: "OperatorPong", value: 5n })
    await atClient.until(sizes.length)
    await atAgent.until(2)
    expect(atClient.messages).toEqual(sent as never)
    expect(atAgent.messages).toEqual([{ kind: "Ping" }, { kind: "OperatorPong", value: 5n }] as never)
    client.close()
    expect(await agent.ended).toEqual({})
    expect(await client.ended).toEqual({})
  })

  test("carries byte streams side by side, in whatever pieces, and their ends", async () => {
    const { client, agent } = await open()
    inbox(agent as never)
    const sizes = [300_000, 5, 16_384, 1_000_000, 65_536, 0]
    const streams = new Map<bigint, Uint8Array[]>()
    const ended = Promise.withResolvers<void>()
    let ends = 0
    client.receive((message) => {
      const { connectionId, bytes } = (message as { value: { value: { connectionId: bigint; bytes: Uint8Array } } })
        .value.value
      const pieces = streams.get(connectionId) ?? []
      streams.set(connectionId, pieces)
      pieces.push(Buffer.from(bytes))
      if (bytes.length === 0 && ++ends === 2) ended.resolve()
    })
    for (const size of sizes) for (const seed of [1, 2]) agent.send(part(seed, size))
    await ended.promise
    for (const seed of [1, 2]) {
      const pieces = streams.get(BigInt(seed))!
      expect(pieces.findIndex(({ length }) => length === 0)).toBe(pieces.length - 1)
      expect(Bun.hash(Buffer.concat(pieces))).toBe(Bun.hash(Buffer.concat(sizes.map((size) => payload(size, seed)))))
    }
    client.close()
    expect(await agent.ended).toEqual({})
  })

  test("a reader that stops while much waits loses nothing, and the sender is told to wait", async () => {
    const { client, agent } = await open()
    const count = 600
    let got = 0
    const bad: number[] = []
    let wake = () => {}
    client.receive((message) => {
      const { value } = (message as { value: { value: { value: { connectionId: bigint; bytes: Uint8Array } } } }).value
        .value
      const same = Buffer.compare(value.bytes, payload(65_536, got)) === 0
      if (!same || value.connectionId !== BigInt(got)) bad.push(got)
      got++
      if (got === 5) client.pause()
      wake()
    })
    let sent = 0
    let producerWaits = false
    const producing = (async () => {
      for (; sent < count; sent++) {
        if (agent.send(data(sent, 65_536))) continue
        producerWaits = true
        await agent.whenWritable()
        producerWaits = false
      }
    })()
    let before = -1
    // Until nothing moves any more: the sender waits and neither end makes progress for a while.
    while (!producerWaits || before !== sent + got) {
      before = sent + got
      await Bun.sleep(60)
    }
    expect(sent).toBeLessThan(count)
    expect(got).toBeLessThan(count)
    client.resume()
    await producing
    while (got < count) await new Promise<void>((resolve) => (wake = resolve))
    expect(bad).toEqual([])
    agent.receive(() => {})
    client.close()
    expect(await agent.ended).toEqual({})
  })

  test("close delivers what was sent before it, also to a reader that comes late", async () => {
    const { client, agent } = await open()
    for (let seed = 0; seed < 20; seed++) agent.send(data(seed, 65_536))
    agent.send({ kind: "Close", value: "bye" })
    client.send({ kind: "Ping" })
    agent.close()
    await Bun.sleep(20)
    const late = inbox(client as never)
    await late.until(21)
    expect(late.messages.at(-1)).toEqual({ kind: "Close", value: "bye" } as never)
    expect((await client.ended).error).toBeUndefined()
    expect((await agent.ended).error).toBeUndefined()
  })

  test("abort ends both ends and lets a waiting sender go on", async () => {
    const { client, agent } = await open()
    while (agent.send(data(1, 65_536)));
    const waiting = agent.whenWritable()
    agent.abort(new Error("enough"))
    await waiting
    expect((await agent.ended).error?.message).toBe("enough")
    client.receive(() => {})
    await client.ended
    expect(agent.send({ kind: "Pong" })).toBe(true)
  })

  test("a sender that ignores back-pressure ends the link instead of filling the memory", async () => {
    const { client, agent } = await open()
    const big: DaemonMessage = { kind: "Close", value: "x".repeat(16 * 1024 * 1024) }
    for (let i = 0; i < 40; i++) agent.send(big)
    expect(((await agent.ended).error as { code?: string }).code).toBe("link-overflow")
    client.abort()
  })
})

test("a served WebSocket whose socket has gone before is over at once", async () => {
  const socket = new PassThrough()
  socket.destroy()
  await new Promise((resolve) => socket.once("close", resolve))
  const link = servedWebSocketLink(socket, new Uint8Array(0), servingSide)
  expect(await link.ended).toMatchObject({ error: { code: "link-lost" } })
})

describe("a stream that breaks the protocol", () => {
  async function rawPeer(): Promise<{ link: Link<ClientMessage, DaemonMessage>; socket: ReturnType<typeof connect> }> {
    const accepted = Promise.withResolvers<Link<ClientMessage, DaemonMessage>>()
    const listener = listenLinks(servingSide, { hostname: "127.0.0.1", port: 0 }, accepted.resolve)
    undo.push(() => listener.stop(true))
    const socket = connect((listener as { port: number }).port, "127.0.0.1")
    return { socket, link: await accepted.promise }
  }

  test("an unknown message ends the link with the decoder's error", async () => {
    const { link, socket } = await rawPeer()
    link.receive(() => {})
    socket.write(Uint8Array.of(200))
    expect(((await link.ended).error as { code?: string }).code).toBe("protocol-bad-tag")
  })

  test("an end inside a message is told apart from an end after one", async () => {
    const cut = await rawPeer()
    cut.link.receive(() => {})
    cut.socket.end(Uint8Array.of(5, 0, 10, 47))
    expect(((await cut.link.ended).error as { code?: string }).code).toBe("link-cut")
    const whole = await rawPeer()
    whole.link.receive(() => {})
    whole.socket.end(Uint8Array.of(7))
    expect(await whole.link.ended).toEqual({})
  })

  test("nobody there is an error with the address", async () => {
    const listener = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data() {} } })
    const { port } = listener
    listener.stop(true)
    await expect(connectLink(askingSide, { hostname: "127.0.0.1", port })).rejects.toThrow(`127.0.0.1:${port}`)
  })
})

test.each([
  ["text", "hello", 1003, "link-not-binary"],
  ["an unknown message", Uint8Array.of(200), 1002, "protocol-bad-tag"],
])("a WebSocket client that breaks the protocol is told how: %s", async (_what, data, code, error) => {
  const { agent, ws } = await servedWebSocket()
  const closed = new Promise((resolve) => {
    ws.onclose = (event) => resolve(event.code)
  })
  agent.receive(() => {})
  ws.send(data)
  expect(((await agent.ended).error as { code?: string }).code).toBe(error)
  expect(await closed).toBe(code)
})

describe("dialling as the TLS server", () => {
  /** A peer that does `act` with every stream; `gone` settles when the first one has ended. */
  async function peer(act: (socket: Socket) => void) {
    const gone = Promise.withResolvers<void>()
    const server = createTcpServer((socket) => {
      socket.on("error", () => {})
      socket.once("close", () => gone.resolve())
      socket.resume()
      act(socket)
    })
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
    undo.push(() => server.close())
    const address = { hostname: "127.0.0.1", port: (server.address() as AddressInfo).port }
    const dial = (signal?: AbortSignal) =>
      connectLink(askingSide, address, { tls: { asServer: certificate }, ...(signal && { signal }) })
    return { dial, gone: gone.promise }
  }

  test.each<[string, (socket: Socket) => void]>([
    ["speaks no TLS", (socket) => socket.write("hello there, who are you?\n")],
    ["does not trust the certificate", (socket) => secure({ socket, servername: "localhost" }).on("error", () => {})],
    ["leaves at once", (socket) => socket.destroy()],
    ["only ends its half", (socket) => socket.end()],
  ])("a peer that %s is an error, and nothing stays open", async (_what, act) => {
    const { dial, gone } = await peer(act)
    await expect(dial()).rejects.toThrow("127.0.0.1")
    await gone
  })

  test("a silent peer is left when the attempt is given up", async () => {
    const attempt = new AbortController()
    const { dial, gone } = await peer(() => attempt.abort(new Error("no answer in time")))
    await expect(dial(attempt.signal)).rejects.toThrow("no answer in time")
    await gone
  })
})
