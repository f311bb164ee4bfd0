import { afterAll, afterEach, beforeAll, expect, test } from "bun:test"
import { mkdtempSync, readdirSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { joinNetworkNamespace, type NetworkNamespace } from "../../core/linux/namespace.ts"
import type { DaemonMessage, DaemonTcpOutgoing, SocketAddress } from "../../core/protocol/index.ts"
import { startAgent, type TestAgent, type TestClient, within } from "../test-agent.ts"

/* A process in a network of its own is the target; what it listens on is reached through the agent only. */

const isRoot = process.getuid?.() === 0
if (!isRoot) console.warn("SKIPPED: outgoing connections are tested in a network namespace, which needs root")
const when = test.skipIf(!isRoot)

const uid = "00112233-4455-6677-8899-aabbccddeeff"
let target: Bun.Subprocess<"pipe", "pipe", "inherit">
let namespace: NetworkNamespace
let agent: TestAgent
let folder: string
const listeners: { stop(force?: boolean): unknown }[] = []

beforeAll(async () => {
  if (!isRoot) return
  const setup = "ip link set lo up; ip route add unreachable 198.51.100.0/24; ip route add prohibit 203.0.113.0/24"
  target = Bun.spawn(["unshare", "--net", "sh", "-c", `${setup}; echo ready; exec cat`], {
    stdin: "pipe",
    stdout: "pipe",
  })
  await target.stdout.getReader().read()
  namespace = joinNetworkNamespace(target.pid)
  agent = await startAgent(["process", "--pid", `${target.pid}`])
  folder = mkdtempSync(join(tmpdir(), "podside-outgoing-"))
})
afterEach(() => {
  for (const listener of listeners.splice(0)) listener.stop(true)
})
afterAll(async () => {
  if (!isRoot) return
  await agent.stop()
  namespace.close()
  target.kill()
  rmSync(folder, { recursive: true })
})

type Handlers = Partial<Parameters<typeof Bun.listen<undefined>>[0]["socket"]>

/** A server in the target's network. */
function listen(hostname: string, socket: Handlers): number {
  const options = { hostname, port: 0, allowHalfOpen: true, socket: { data() {}, end() {}, ...socket } }
  const listener = namespace.run(() => Bun.listen(options))
  listeners.push(listener)
  return listener.port
}

async function newClient(): Promise<TestClient> {
  const client = await agent.connect()
  await client.negotiate()
  return client
}

const ip = (host: string, port: number): SocketAddress => ({ kind: "Ip", value: { ip: host, port } })

async function connect(client: TestClient, remoteAddress: SocketAddress, family = "TcpOutgoing") {
  const message = { kind: family, value: { kind: "ConnectV2", value: { uid, remoteAddress } } }
  const answer = await client.ask(message as never)
  if (answer.kind !== family) throw new Error(`unexpected ${answer.kind}`)
  const value = (answer as { value: DaemonTcpOutgoing }).value
  if (value.kind !== "ConnectV2") throw new Error(`unexpected ${value.kind}`)
  expect(value.value.uid).toBe(uid)
  return value.value.connect
}

async function connected(client: TestClient, address: SocketAddress, family = "TcpOutgoing") {
  const connect_ = await connect(client, address, family)
  if (connect_.kind === "Err") throw new Error(JSON.stringify(connect_))
  return connect_.value
}

const connectedByUdp = (client: TestClient, port: number) => connected(client, ip("127.0.0.1", port), "UdpOutgoing")

const write = (connectionId: bigint, text: string | Uint8Array) =>
  ({ kind: "TcpOutgoing", value: { kind: "Write", value: { connectionId, bytes: Buffer.from(text) } } }) as const
const read = (connectionId: bigint, text: string) => ({
  kind: "TcpOutgoing",
  value: { kind: "Read", value: { kind: "Ok", value: { connectionId, bytes: Uint8Array.from(Buffer.from(text)) } } },
})
const closeOf = (connectionId: bigint) =>
  ({ kind: "TcpOutgoing", value: { kind: "Close", value: { connectionId } } }) as const
const closed = (value: bigint) => ({ kind: "TcpOutgoing", value: { kind: "Close", value } })
const same = (message: DaemonMessage, expected: unknown) => expect(message as unknown).toEqual(expected)

when.each([["127.0.0.1"], ["::1"]])("a program reaches %s of the target and is told both addresses", async (host) => {
  const port = listen(host, { data: (socket, data) => void socket.write(`echo ${data}`) })
  const client = await newClient()
  const { connectionId, remoteAddress, localAddress } = await connected(client, ip(host, port))
  expect(remoteAddress).toEqual(ip(host, port))
  expect(localAddress).toEqual(ip(host, expect.any(Number) as unknown as number))
  client.send(write(connectionId, "hello"))
  same(await client.next(), read(connectionId, "echo hello"))
})

when("ids count from 0 for each client", async () => {
  const port = listen("127.0.0.1", {})
  for (const client of [await newClient(), await newClient()]) {
    expect((await connected(client, ip("127.0.0.1", port))).connectionId).toBe(0n)
    expect((await connected(client, ip("127.0.0.1", port))).connectionId).toBe(1n)
  }
})

when.each([
  ["refused", ip("127.0.0.1", 1), 111, "ConnectionRefused"],
  ["refused by IPv6", ip("::1", 1), 111, "ConnectionRefused"],
  ["without a route", ip("192.0.2.1", 80), 101, "NetworkUnreachable"],
  ["to an unreachable host", ip("198.51.100.1", 80), 113, "HostUnreachable"],
  ["that is prohibited", ip("203.0.113.1", 80), 13, "PermissionDenied"],
  [
    "to a unix path that is not there",
    { kind: "Unix", value: { kind: "Pathname", value: "/no/such" } } as const,
    2,
    "NotFound",
  ],
])("a connection %s fails with the kernel's errno", async (_, address, rawOsError, kind) => {
  const client = await newClient()
  expect(await connect(client, address)).toEqual({
    kind: "Err",
    value: { kind: "RemoteIO", value: { rawOsError, kind: { kind } as never } },
  })
})

when("connections that fail leave nothing open", async () => {
  const client = await newClient()
  const refused = () => connect(client, ip("127.0.0.1", 1))
  await refused()
  const before = readdirSync("/proc/self/fd").length
  for (let i = 0; i < 30; i++) expect((await refused()).kind).toBe("Err")
  expect(readdirSync("/proc/self/fd").length).toBeLessThan(before + 10)
})

when(
  "a connection nobody answers is given up after 5 s, as timed out",
  async () => {
    // A listener that takes nobody, and whose queue is full, drops what comes.
    const script = `
import socket, time
server = socket.socket(); server.bind(("127.0.0.1", 0)); server.listen(0)
waiting = socket.socket(); waiting.connect(server.getsockname())
print(server.getsockname()[1], flush=True); time.sleep(600)`
    const full = Bun.spawn(["nsenter", "-t", `${target.pid}`, "-n", "python3", "-c", script], { stdout: "pipe" })
    listeners.push({ stop: () => full.kill() })
    const { value } = await full.stdout.getReader().read()
    const started = performance.now()
    expect(await connect(await newClient(), ip("127.0.0.1", Number(Buffer.from(value!))))).toEqual({
      kind: "Err",
      value: { kind: "RemoteIO", value: { rawOsError: 110, kind: { kind: "TimedOut" } } },
    })
    expect(performance.now() - started).toBeGreaterThan(4900)
  },
  30_000,
)

when("an address of the wrong kind is refused, and the client goes on", async () => {
  const client = await newClient()
  const unnamed = { kind: "Unix", value: { kind: "Unnamed" } } as const
  expect(await connect(client, unnamed)).toMatchObject({ value: { kind: "Remote" } })
  expect(await connect(client, unnamed, "UdpOutgoing")).toMatchObject({ value: { kind: "Remote" } })
  expect(await connect(client, ip("127.0.0.1", 1), "SeqpacketOutgoing")).toMatchObject({ value: { kind: "Remote" } })
  expect(await client.ask({ kind: "Ping" })).toEqual({ kind: "Pong" })
})

when("connects of the old form are answered in the order they were asked", async () => {
  const port = listen("127.0.0.1", {})
  const client = await newClient()
  const ask = (address: SocketAddress) =>
    client.send({ kind: "TcpOutgoing", value: { kind: "Connect", value: { remoteAddress: address } } })
  for (let round = 0; round < 5; round++) {
    ask(ip("127.0.0.1", port))
    ask(ip("127.0.0.1", 1))
  }
  const answers = []
  for (let index = 0; index < 10; index++)
    answers.push(((await client.next()) as { value: { value: { kind: string } } }).value.value.kind)
  expect(answers).toEqual(Array.from({ length: 10 }, (_, index) => (index % 2 === 0 ? "Ok" : "Err")))
})

when("the client may end first and still gets everything, then hears of the close", async () => {
  const received: string[] = []
  const port = listen("127.0.0.1", {
    data: (_, data) => void received.push(data.toString()),
    end: (socket) => void socket.end(`got ${received.join("")}`),
  })
  const client = await newClient()
  const { connectionId } = await connected(client, ip("127.0.0.1", port))
  client.send(write(connectionId, "all of it"), write(connectionId, ""))
  same(await client.next(), read(connectionId, "got all of it"))
  same(await client.next(), read(connectionId, ""))
  same(await client.next(), closed(connectionId))
})

when("the remote may end first and still gets everything", async () => {
  const all = Promise.withResolvers<string>()
  let received = ""
  const port = listen("127.0.0.1", {
    open(socket) {
      socket.write("bye")
      socket.shutdown()
    },
    data: (_, data) => void (received += data.toString()),
    close: () => all.resolve(received),
  })
  const client = await newClient()
  const { connectionId } = await connected(client, ip("127.0.0.1", port))
  same(await client.next(), read(connectionId, "bye"))
  same(await client.next(), read(connectionId, ""))
  client.send(write(connectionId, "still here"), write(connectionId, ""))
  same(await client.next(), closed(connectionId))
  expect(await within("the rest", all.promise)).toBe("still here")
})

when("a reset of the remote closes the connection, with a warning for a client that wants logs", async () => {
  const port = listen("127.0.0.1", { data: (socket) => void socket.terminate() })
  const client = await newClient()
  client.send({ kind: "ReadyForLogs" })
  const { connectionId } = await connected(client, ip("127.0.0.1", port))
  client.send(write(connectionId, "x"))
  expect(await client.next()).toMatchObject({ kind: "LogMessage", value: { level: { kind: "Warn" } } })
  same(await client.next(), closed(connectionId))
})

when("and without a word for one that has not asked for logs", async () => {
  const port = listen("127.0.0.1", { data: (socket) => void socket.terminate() })
  const client = await newClient()
  const { connectionId } = await connected(client, ip("127.0.0.1", port))
  client.send(write(connectionId, "x"))
  same(await client.next(), closed(connectionId))
})

when("a client's own close is not answered, and unknown ids are ignored", async () => {
  const gone = Promise.withResolvers<void>()
  const port = listen("127.0.0.1", { end: () => gone.resolve(), close: () => gone.resolve() })
  const client = await newClient()
  const { connectionId } = await connected(client, ip("127.0.0.1", port))
  client.send(closeOf(connectionId), closeOf(connectionId), write(connectionId, "late"), write(99n, "unknown"))
  expect(await client.settle()).toEqual([])
  await within("the end at the remote", gone.promise)
})

when.each([
  ["closes", (client: TestClient, connectionId: bigint) => client.send(closeOf(connectionId))],
  ["leaves", (client: TestClient) => void client.link.close()],
])("what a client wrote before it %s reaches a remote that reads slowly, and then the end", async (_, leave) => {
  const all = Promise.withResolvers<number>()
  const opened = Promise.withResolvers<Bun.Socket<undefined>>()
  let received = 0
  const port = listen("127.0.0.1", {
    open(socket) {
      socket.pause()
      opened.resolve(socket)
    },
    data: (_, data) => void (received += data.length),
    end: () => all.resolve(received),
    close: (_, error) => (error ? all.reject(error) : all.resolve(received)),
  })
  const client = await newClient()
  const { connectionId } = await connected(client, ip("127.0.0.1", port))
  const written = bulk.subarray(0, 7 << 20)
  client.send(write(connectionId, written))
  await client.settle()
  leave(client, connectionId)
  await Bun.sleep(50)
  ;(await opened.promise).resume()
  expect(await within("the rest", all.promise)).toBe(written.length)
})

when("a client that leaves takes its connections along", async () => {
  const gone = Promise.withResolvers<void>()
  const port = listen("127.0.0.1", { end: () => gone.resolve(), close: () => gone.resolve() })
  const client = await newClient()
  await connected(client, ip("127.0.0.1", port))
  client.link.abort()
  await within("the end at the remote", gone.promise)
})

/** 64 MiB through slow readers on both sides: more than all buffers together. */
const bulk = Buffer.alloc(64 * 1024 * 1024, "0123456789abcdef\n")

/** Writes all of `bulk` as the other side takes it. */
function pourer() {
  let sent = 0
  return (socket: { write(data: Uint8Array): number; end(): unknown }) => {
    while (sent < bulk.length) {
      const taken = socket.write(bulk.subarray(sent, sent + 1024 * 1024))
      if (taken <= 0) return
      sent += taken
    }
    socket.end()
  }
}

when.each([
  ["stays open", false],
  ["has ended its own direction", true],
])(
  "nothing is lost when a client that %s pauses while much arrives",
  async (_, endsFirst) => {
    const pour = pourer()
    const port = listen("127.0.0.1", { open: pour, drain: pour })
    const client = await newClient()
    const { connectionId } = await connected(client, ip("127.0.0.1", port))
    if (endsFirst) client.send(write(connectionId, ""))
    const hash = new Bun.CryptoHasher("sha256")
    const done = Promise.withResolvers<void>()
    let messages = 0
    client.takeOver((message) => {
      if (message.kind !== "TcpOutgoing" || message.value.kind !== "Read" || message.value.value.kind !== "Ok") return
      const { bytes } = message.value.value.value
      if (bytes.length === 0) done.resolve()
      hash.update(bytes)
      if (messages++ % 50 !== 0) return
      client.link.pause()
      setTimeout(() => client.link.resume(), 20)
    })
    await within("the end of the data", done.promise)
    expect(hash.digest("hex")).toBe(new Bun.CryptoHasher("sha256").update(bulk).digest("hex"))
  },
  120_000,
)

when(
  "nothing is lost when the remote pauses while the client sends much, and other connections go on",
  async () => {
    let received = 0
    const hash = new Bun.CryptoHasher("sha256")
    const done = Promise.withResolvers<void>()
    const slow = listen("127.0.0.1", {
      data(socket, data) {
        hash.update(data)
        received += data.length
        if (Math.random() > 0.1) return
        socket.pause()
        setTimeout(() => socket.resume(), 5)
      },
      end: () => done.resolve(),
    })
    const client = await newClient()
    const { connectionId } = await connected(client, ip("127.0.0.1", slow))
    for (let at = 0; at < bulk.length; at += 256 * 1024) {
      client.send(write(connectionId, bulk.subarray(at, at + 256 * 1024)))
      await client.link.whenWritable()
    }
    client.send(write(connectionId, ""))
    await within("the end of the data", done.promise)
    expect(received).toBe(bulk.length)
    expect(hash.digest("hex")).toBe(new Bun.CryptoHasher("sha256").update(bulk).digest("hex"))
  },
  120_000,
)

when("datagrams keep their borders; a half close stops what is sent, not what comes back", async () => {
  const received: string[] = []
  const socket = await namespace.run(() =>
    Bun.udpSocket({
      hostname: "127.0.0.1",
      port: 0,
      socket: {
        data(own, data, port, address) {
          received.push(data.toString())
          own.send(`<${data}>`, port, address)
        },
      },
    }),
  )
  const client = await newClient()
  const [one, other] = [await connectedByUdp(client, socket.port), await connectedByUdp(client, socket.port)]
  const { localAddress } = one
  expect(localAddress).toMatchObject({ kind: "Ip", value: { ip: "127.0.0.1" } })
  const send = ({ connectionId }: typeof one, text: string) =>
    client.send({ kind: "UdpOutgoing", value: { kind: "Write", value: { connectionId, bytes: Buffer.from(text) } } })
  const answered = async ({ connectionId }: typeof one, text: string) =>
    same(await client.next(), { ...read(connectionId, text), kind: "UdpOutgoing" })
  send(one, "one")
  send(one, "two")
  await answered(one, "<one>")
  await answered(one, "<two>")
  send(one, "")
  send(one, "late")
  send(other, "after")
  await answered(other, "<after>")
  if (localAddress.kind === "Ip") socket.send("more", localAddress.value.port, "127.0.0.1")
  await answered(one, "more")
  expect(received).toEqual(["one", "two", "after"])
  socket.close()
})

when("a refused datagram ends the connection, every time", async () => {
  const socket = await namespace.run(() => Bun.udpSocket({ hostname: "127.0.0.1", port: 0 }))
  const { port } = socket
  socket.close()
  const client = await newClient()
  for (let time = 0; time < 2; time++) {
    const { connectionId } = await connected(client, ip("127.0.0.1", port), "UdpOutgoing")
    client.send({ kind: "UdpOutgoing", value: { kind: "Write", value: { connectionId, bytes: Buffer.from("one") } } })
    same(await client.next(), { kind: "UdpOutgoing", value: { kind: "Close", value: connectionId } })
  }
})

when("UDP to a place without a route fails with the kernel's errno", async () => {
  expect(await connect(await newClient(), ip("192.0.2.1", 53), "UdpOutgoing")).toMatchObject({
    value: { kind: "RemoteIO", value: { rawOsError: 101 } },
  })
})

when.each([
  ["Pathname", () => join(folder, "stream.sock")],
  ["Abstract", () => "\0podside-test-stream"],
])("unix stream sockets are reached by %s", async (kind, name) => {
  const unix = name()
  const listener = namespace.run(() =>
    Bun.listen({ unix, socket: { data: (socket, data) => void socket.write(data) } }),
  )
  listeners.push(listener)
  const value = kind === "Pathname" ? unix : Buffer.from(unix.slice(1))
  const client = await newClient()
  const address = { kind: "Unix", value: { kind, value } } as SocketAddress
  const { connectionId, localAddress } = await connected(client, address)
  expect(localAddress).toEqual({ kind: "Unix", value: { kind: "Unnamed" } })
  client.send(write(connectionId, "by name"))
  same(await client.next(), read(connectionId, "by name"))
})

when("packets keep their borders", async () => {
  const path = join(folder, "packets.sock")
  const script = `
import socket, sys
server = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
server.bind(sys.argv[1]); server.listen(); print("ready", flush=True)
peer, _ = server.accept()
while True:
    packet = peer.recv(100000)
    if not packet: break
    peer.send(b"%d" % len(packet))
peer.close()
`
  const server = Bun.spawn(["python3", "-c", script, path], { stdout: "pipe" })
  listeners.push({ stop: () => server.kill() })
  await server.stdout.getReader().read()
  const client = await newClient()
  const kind = "SeqpacketOutgoing"
  const { connectionId } = await connected(client, { kind: "Unix", value: { kind: "Pathname", value: path } }, kind)
  const packet = (length: number) =>
    client.send({ kind, value: { kind: "Write", value: { connectionId, bytes: Buffer.alloc(length, 1) } } })
  for (const length of [3, 50_000, 7]) packet(length)
  for (const text of ["3", "50000", "7"]) same(await client.next(), { ...read(connectionId, text), kind })
  packet(0)
  same(await client.next(), { ...read(connectionId, ""), kind })
  same(await client.next(), { ...closed(connectionId), kind })
  expect(await server.exited).toBe(0)
})

when("a peer that takes nothing holds up its own client at most, not the others", async () => {
  const port = listen("127.0.0.1", { open: (socket) => void socket.pause() })
  const echo = listen("127.0.0.1", { data: (socket, data) => void socket.write(data) })
  const [stuck, other] = [await newClient(), await newClient()]
  const { connectionId } = await connected(stuck, ip("127.0.0.1", port))
  let accepted = 0
  for (; accepted < 64; accepted++) {
    if (!stuck.link.send(write(connectionId, bulk.subarray(0, 1024 * 1024)))) {
      const moved = await Promise.race([stuck.link.whenWritable().then(() => true), Bun.sleep(300).then(() => false)])
      if (!moved) break
    }
  }
  // The kernel, the two links and the agent hold some; the rest stays where it came from.
  expect(accepted).toBeLessThan(40)
  const reached = await connected(other, ip("127.0.0.1", echo))
  other.send(write(reached.connectionId, "still served"))
  same(await other.next(), read(reached.connectionId, "still served"))
})

when("a client that takes nothing holds up who sends to it, and nobody else", async () => {
  const part = bulk.subarray(0, 256 * 1024)
  let sent = 0
  const pour = (socket: Bun.Socket<undefined>) => {
    for (let taken = part.length; taken === part.length; sent += taken) taken = Math.max(0, socket.write(part))
  }
  const endless = listen("127.0.0.1", { open: pour, drain: pour })
  const echo = listen("127.0.0.1", { data: (socket, data) => void socket.write(data) })
  const [stuck, other] = [await newClient(), await newClient()]
  const { connectionId } = await connected(stuck, ip("127.0.0.1", endless))
  stuck.link.pause()
  const settled = async () => {
    for (let before = -1; before !== sent; await Bun.sleep(200)) before = sent
    return sent
  }
  // The kernel, the agent and the two links hold some; the rest stays where it came from.
  const held = await settled()
  expect(held).toBeGreaterThan(0)
  expect(held).toBeLessThan(40 << 20)
  const reached = await connected(other, ip("127.0.0.1", echo))
  other.send(write(reached.connectionId, "still served"))
  same(await other.next(), read(reached.connectionId, "still served"))
  let got = 0
  const more = Promise.withResolvers<void>()
  stuck.takeOver((message) => {
    if (message.kind !== "TcpOutgoing" || message.value.kind !== "Read" || message.value.value.kind !== "Ok") return
    got += message.value.value.value.bytes.length
    if (got > 2 * held) more.resolve()
  })
  stuck.link.resume()
  await within("what was held up, and more", more.promise)
  stuck.send(closeOf(connectionId))
  stuck.link.close()
})
