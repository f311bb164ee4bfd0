import { afterEach, expect, test } from "bun:test"
import { until } from "../../test/until.ts"
import { linkPair } from "../link/index.ts"
import type { Link } from "../link.ts"
import { silentLogger } from "../log.ts"
import type { ClientMessage, DaemonMessage } from "../protocol/index.ts"
import type { AgentConnection } from "./agent-session.ts"
import { Conversation } from "./conversation.ts"
import { KnownNames } from "./features/dns/known-names.ts"
import { createNames } from "./features/dns/lookup.ts"
import { createFileWorld } from "./features/files/world.ts"
import { createIncomingWorld } from "./features/incoming/world.ts"
import { createOutgoingWorld } from "./features/outgoing/world.ts"

const at = {
  home: "/home/ann",
  temporaryDirectory: "/tmp",
  workingDirectory: "/project",
  executable: "/bin/x",
  platform: "linux",
} as const
const ends: (() => void)[] = []
afterEach(() => {
  for (const end of ends.splice(0)) end()
})

interface Operator {
  link: Link<ClientMessage, DaemonMessage>
  heard: ClientMessage[]
}

/** All features on a session whose connection can be cut (`cut`) and made again (`comeBack`) or given up (`giveUp`). */
function interrupted(options: { reconnects?: boolean; pingEveryMs?: number; deadAfterMs?: number } = {}) {
  const connections: Operator[] = []
  const connect = (): AgentConnection => {
    const { client, agent } = linkPair()
    client.pause()
    const heard: ClientMessage[] = []
    agent.receive((message) => heard.push(message))
    connections.push({ link: agent, heard })
    ends.push(() => {
      client.abort()
      agent.abort()
    })
    return { link: client, protocolVersion: "1.29.0" }
  }
  let waiting = Promise.withResolvers<AgentConnection>()
  const { reconnects = true, ...timing } = options
  const notices: string[] = []
  const conversation = new Conversation(
    {
      ...connect(),
      peer: "operator",
      close: async () => {},
      ...(reconnects ? { reconnect: () => (waiting = Promise.withResolvers()).promise } : {}),
    },
    { log: silentLogger, notice: (text) => notices.push(text), ...timing },
  )
  const own = { tcp: true, udp: true, ignoreLocalhost: false }
  const incoming = createIncomingWorld(conversation, {
    mode: "steal",
    portMapping: new Map(),
    listenPorts: new Map(),
    ignoreLocalhost: false,
    ignorePorts: [],
    tlsDelivery: { protocol: "tls" },
    idleConnectionMs: 3_000,
  })
  const parts = {
    names: createNames(conversation),
    files: createFileWorld(conversation, { mode: "read", readAheadBytes: 0 }, at),
    outgoing: createOutgoingWorld(conversation, own, { known: new KnownNames(), listensOn: () => false }),
    incoming: incoming.world,
  }
  conversation.begin()
  ends.push(() => conversation.end())
  return {
    ...parts,
    conversation,
    notices,
    operator: () => connections.at(-1)!,
    async cut() {
      connections.at(-1)!.link.abort()
      await until(() => notices.some((text) => text.includes("connecting again")))
    },
    comeBack() {
      waiting.resolve(connect())
    },
    giveUp: (error: Error) => waiting.reject(error),
  }
}

const listener = { requested: { ip: "0.0.0.0", port: 80 }, local: { ip: "0.0.0.0", port: 80 } }
const subscribed: DaemonMessage = {
  kind: "TcpSteal",
  value: { kind: "SubscribeResult", value: { kind: "Ok", value: 80 } },
}
const outcome = (work: Promise<unknown>) => work.catch((error: unknown) => error)
const kindsOf = ({ heard }: Operator) => heard.map(({ kind }) => kind)

test("what was on its way fails, what is asked meanwhile waits, and ports are taken again first", async () => {
  const session = interrupted()
  const { names, files, outgoing, incoming, operator } = session
  const listening = incoming.listening(listener)
  await until(() => kindsOf(operator()).includes("TcpSteal"))
  operator().link.send(subscribed)
  await listening
  const opening = outcome(files.openForReading("/data/a"))
  const looking = names.remote("db", 4)
  const connecting = outcome(outgoing.connect({ kind: "tcp", endpoint: { ip: "10.0.0.1", port: 80 } }))
  await until(() => kindsOf(operator()).includes("TcpOutgoing"))
  await session.cut()
  expect(await opening).toMatchObject({ errno: 5 })
  expect(await looking).toEqual({ code: 2 })
  expect(await connecting).toMatchObject({ errno: 5 })

  const asked = names.remote("web", 4)
  session.comeBack()
  await until(() => kindsOf(operator()).includes("GetAddrInfoRequestV2"))
  expect(kindsOf(operator())).toEqual(["ReadyForLogs", "TcpSteal", "GetAddrInfoRequestV2"])
  operator().link.send(subscribed)
  operator().link.send({
    kind: "GetAddrInfoResponse",
    value: { kind: "Ok", value: [{ name: "web", ip: "10.0.0.2" }] },
  })
  expect(await asked).toEqual({ ips: ["10.0.0.2"], owner: "web" })
  expect(session.notices).toEqual([
    expect.stringContaining("Lost the operator"),
    expect.stringContaining("Connected to the operator again"),
  ])
})

test("open files are invalid and are closed in silence; the new connection's files with the same numbers are not touched", async () => {
  const session = interrupted()
  const { files, operator } = session
  const writing = { read: true, write: true, append: false, truncate: false, create: false, exclusive: false }
  const open = async () => {
    const opening = files.open("/data/a", writing)
    await until(() => kindsOf(operator()).includes("FileRequest"))
    operator().link.send({ kind: "File", value: { kind: "Open", value: { kind: "Ok", value: { fd: 0n } } } })
    return opening
  }
  const old = await open()
  await session.cut()
  session.comeBack()
  await until(() => session.notices.length === 2)
  const fresh = await open()
  await expect(old.readAt(0n, 10)).rejects.toMatchObject({ errno: 5 })
  await expect(old.append(Buffer.from("x"))).rejects.toMatchObject({ errno: 5 })
  old.close()
  fresh.close()
  await until(() => kindsOf(operator()).length === 3)
  expect(operator().heard.slice(1)).toMatchObject([{ value: { kind: "Open" } }, { value: { kind: "Close" } }])
})

test("connections end for the program and say nothing to the new agent", async () => {
  const session = interrupted()
  const { outgoing, operator } = session
  const connecting = outgoing.connect({ kind: "tcp", endpoint: { ip: "10.0.0.1", port: 80 } })
  await until(() => kindsOf(operator()).includes("TcpOutgoing"))
  const { uid } = ((operator().heard.at(-1) as { value: unknown }).value as { value: { uid: string } }).value
  const address = { kind: "Ip", value: { ip: "10.0.0.1", port: 80 } } as const
  const connect = { kind: "Ok", value: { connectionId: 4n, remoteAddress: address, localAddress: address } } as const
  operator().link.send({ kind: "TcpOutgoing", value: { kind: "ConnectV2", value: { uid, connect } } })
  const connection = await connecting
  let closed = false
  connection.attach({ onData() {}, onDrain() {}, onEnd() {}, onClose: () => (closed = true) })
  await session.cut()
  expect(closed).toBe(true)
  connection.write(Buffer.from("late"))
  connection.end()
  connection.close()
  session.comeBack()
  await until(() => session.notices.length === 2)
  session.conversation.send({ kind: "Ping" })
  await until(() => kindsOf(operator()).includes("Ping"))
  expect(kindsOf(operator())).toEqual(["ReadyForLogs", "Ping"])
})

test("a connection that ended before the loss and is read after it leaves the new one with its number alone", async () => {
  const session = interrupted()
  const { outgoing, operator } = session
  const address = { kind: "Ip", value: { ip: "10.0.0.1", port: 80 } } as const
  const ok = { kind: "Ok", value: { connectionId: 4n, remoteAddress: address, localAddress: address } } as const
  const read = (text: string): DaemonMessage => ({
    kind: "TcpOutgoing",
    value: { kind: "Read", value: { kind: "Ok", value: { connectionId: 4n, bytes: Buffer.from(text) } } },
  })
  const open = async () => {
    const connecting = outgoing.connect({ kind: "tcp", endpoint: { ip: "10.0.0.1", port: 80 } })
    await until(() => kindsOf(operator()).includes("TcpOutgoing"))
    const { uid } = ((operator().heard.at(-1) as { value: unknown }).value as { value: { uid: string } }).value
    operator().link.send({ kind: "TcpOutgoing", value: { kind: "ConnectV2", value: { uid, connect: ok } } })
    const connection = await connecting
    const heard: string[] = []
    const onData = (bytes: Uint8Array) => void heard.push(Buffer.from(bytes).toString())
    connection.pause()
    connection.attach({ onData, onDrain() {}, onEnd() {}, onClose: () => void heard.push("closed") })
    return { connection, heard }
  }
  const old = await open()
  operator().link.send(read("old"))
  operator().link.send({ kind: "TcpOutgoing", value: { kind: "Close", value: 4n } })
  operator().link.send({ kind: "LogMessage", value: { message: "that was all", level: { kind: "Warn" } } })
  await until(() => session.notices.includes("that was all"))
  await session.cut()
  session.comeBack()
  await until(() => session.notices.length === 3)
  const fresh = await open()
  old.connection.write(Buffer.from("late"))
  old.connection.end()
  old.connection.resume()
  expect(old.heard).toEqual(["old", "closed"])
  fresh.connection.resume()
  operator().link.send(read("new"))
  await until(() => fresh.heard.length > 0)
  expect(fresh.heard).toEqual(["new"])
  expect(kindsOf(operator())).toEqual(["ReadyForLogs", "TcpOutgoing"])
})

test("a port somebody else has taken meanwhile is said, and the session goes on", async () => {
  const session = interrupted()
  const { incoming, operator } = session
  const listening = incoming.listening(listener)
  await until(() => kindsOf(operator()).includes("TcpSteal"))
  operator().link.send(subscribed)
  await listening
  await session.cut()
  session.comeBack()
  await until(() => kindsOf(operator()).includes("TcpSteal"))
  operator().link.send({
    kind: "TcpSteal",
    value: { kind: "SubscribeResult", value: { kind: "Err", value: { kind: "PortAlreadyStolen", value: 80 } } },
  })
  await until(() => session.notices.some((text) => text.startsWith("Port 80 was taken")))
})

test("a listen that waits for its answer gets it from the new connection", async () => {
  const session = interrupted()
  const { incoming, operator } = session
  const listening = incoming.listening(listener)
  await until(() => kindsOf(operator()).includes("TcpSteal"))
  await session.cut()
  session.comeBack()
  await until(() => kindsOf(operator()).includes("TcpSteal"))
  operator().link.send(subscribed)
  await listening
})

test("a port whose program listens no more is not asked for on the new connection, also when its answer was lost", async () => {
  const session = interrupted()
  const { incoming, operator } = session
  const listening = outcome(incoming.listening(listener))
  await until(() => kindsOf(operator()).includes("TcpSteal"))
  incoming.closed(listener)
  await session.cut()
  session.comeBack()
  await until(() => session.notices.length === 2)
  session.conversation.send({ kind: "Ping" })
  await until(() => kindsOf(operator()).includes("Ping"))
  expect(kindsOf(operator())).toEqual(["ReadyForLogs", "Ping"])
  expect(await listening).toMatchObject({ errno: 5 })
})

test("a refusal of a port that was given up leaves the next listener of it alone", async () => {
  const session = interrupted()
  const { incoming, operator } = session
  const subscriptions = () => operator().heard.filter(({ kind }) => kind === "TcpSteal").length
  const first = outcome(incoming.listening(listener))
  await until(() => subscriptions() === 1)
  incoming.closed(listener)
  const second = incoming.listening(listener)
  await until(() => subscriptions() === 3)
  operator().link.send({
    kind: "TcpSteal",
    value: { kind: "SubscribeResult", value: { kind: "Err", value: { kind: "PortAlreadyStolen", value: 80 } } },
  })
  operator().link.send(subscribed)
  expect(await first).toBeInstanceOf(Error)
  await second
  await session.cut()
  session.comeBack()
  await until(() => subscriptions() === 1)
})

test("a session that cannot be reached again is lost, with both reasons", async () => {
  const session = interrupted()
  const waiting = session.conversation.lost
  await session.cut()
  const asked = session.names.remote("web", 4)
  session.giveUp(new Error("session 4D2 is closed"))
  expect((await waiting).message).toMatch(/^Lost the operator: .*cannot be reached again: session 4D2 is closed$/)
  expect(await asked).toEqual({ code: 2 })
})

test("a session without reconnecting is lost at once", async () => {
  const session = interrupted({ reconnects: false })
  session.operator().link.abort()
  expect(await session.conversation.lost).toMatchObject({ code: "agent-lost" })
})

test("silence is a reason to connect again, but not for ever", async () => {
  const session = interrupted({ pingEveryMs: 10, deadAfterMs: 60 })
  const cuts = () => session.notices.filter((text) => text.includes("connecting again")).length
  for (let count = 1; count <= 5; count++) {
    await until(() => cuts() === count)
    session.comeBack()
  }
  expect((await session.conversation.lost).message).toContain("does not answer")
  expect(cuts()).toBe(5)
})
