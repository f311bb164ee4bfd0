import { afterEach, expect, test } from "bun:test"
import { parseOutgoingFilter } from "../../../../config/address-filter.ts"
import { until } from "../../../../test/until.ts"
import { linkPair } from "../../../link/index.ts"
import { silentLogger } from "../../../log.ts"
import type { ClientMessage, DaemonMessage } from "../../../protocol/index.ts"
import { Conversation } from "../../conversation.ts"
import type { RemotePeer } from "../../engine.ts"
import { KnownNames } from "../dns/known-names.ts"
import { createOutgoingWorld, type OutgoingOptions } from "./world.ts"

const ends: (() => void)[] = []
afterEach(() => {
  for (const end of ends.splice(0)) end()
})

function outgoing(options: Partial<OutgoingOptions> = {}, protocolVersion = "1.29.0") {
  const { client, agent } = linkPair()
  client.pause()
  const session = { link: client, protocolVersion, peer: "agent", close: async () => client.close() }
  const conversation = new Conversation(session, { log: silentLogger, notice() {} })
  const known = new KnownNames()
  known.learn(["db", "db.shop"], ["10.0.0.7"])
  known.learn(["pod-only.shop"], ["10.0.0.8"])
  known.learn(["mine"], ["10.0.0.9"], "machine")
  const world = createOutgoingWorld(
    conversation,
    { tcp: true, udp: true, ignoreLocalhost: false, ...options },
    {
      known,
      listensOn: (port) => port === 3000,
      resolveHere: async (name) => (name === "db.shop" ? { ips: ["192.0.2.7"] } : { code: 3 }),
    },
  )
  const heard: ClientMessage[] = []
  agent.receive((message) => heard.push(message))
  conversation.begin()
  ends.push(() => {
    conversation.end()
    client.abort()
    agent.abort()
  })
  const say = (message: DaemonMessage) => void agent.send(message)
  return { world, conversation, heard, say }
}

const filter = (matching: "remote" | "local", ...entries: string[]) => ({
  matching,
  entries: entries.map(parseOutgoingFilter),
})
const tcp = (ip: string, port = 80): RemotePeer => ({ kind: "tcp", endpoint: { ip, port } })
const udp = (ip: string, port = 80): RemotePeer => ({ kind: "udp", endpoint: { ip, port } })
const unix = (path: string): RemotePeer => ({ kind: "unix", path: Buffer.from(path) })

test.each<[sentence: string, options: Partial<OutgoingOptions>, peer: RemotePeer, expected: "remote" | "local"]>([
  ["without a filter everything is remote", {}, tcp("10.0.0.1"), "remote"],
  ["the pod's own loopback is remote", {}, tcp("127.0.0.1"), "remote"],
  ["a loopback port the program listens on is local", {}, tcp("127.0.0.1", 3000), "local"],
  ["and so is all of it when asked for", { ignoreLocalhost: true }, tcp("::1"), "local"],
  ["a debugger's loopback port is local", { debuggerPorts: new Set([5678]) }, tcp("127.0.0.1", 5678), "local"],
  ["but not elsewhere", { debuggerPorts: new Set([5678]) }, tcp("10.0.0.1", 5678), "remote"],
  ["a ping is answered whatever the filter says", { answersPing: true, tcp: false }, tcp("10.0.0.1", 7), "remote"],
  ["other ports are no ping", { answersPing: true, tcp: false }, tcp("10.0.0.1", 8), "local"],
  ["an unspecified address is the pod's loopback", {}, tcp("0.0.0.0"), "remote"],
  ["a filter holds for the loopback, too", { filter: filter("local", "127.0.0.1:80") }, tcp("127.0.0.1"), "local"],
  ["port 0 is local", {}, tcp("10.0.0.1", 0), "local"],
  ["TCP can be switched off", { tcp: false }, tcp("10.0.0.1"), "local"],
  ["without switching off UDP", { tcp: false }, udp("10.0.0.1"), "remote"],
  ["what a remote filter names is remote", { filter: filter("remote", "10.0.0.0/24") }, tcp("10.0.0.200"), "remote"],
  ["the rest is local", { filter: filter("remote", "10.0.0.0/24") }, tcp("10.0.1.1"), "local"],
  ["what a local filter names is local", { filter: filter("local", ":443") }, tcp("10.0.0.1", 443), "local"],
  ["the rest is remote", { filter: filter("local", ":443") }, tcp("10.0.0.1", 80), "remote"],
  ["a name stands for its addresses", { filter: filter("remote", "db.shop:80") }, tcp("10.0.0.7"), "remote"],
  ["and for no others", { filter: filter("remote", "db.shop:80") }, tcp("10.0.0.8"), "local"],
  ["a protocol narrows an entry", { filter: filter("remote", "udp://10.0.0.1") }, tcp("10.0.0.1"), "local"],
  ["unix sockets are local", {}, unix("/run/app.sock"), "local"],
  ["unless a pattern wants them", { unixStreams: ["^/run/app"] }, unix("/run/app.sock\0\0"), "remote"],
])("%s", (_, options, peer, expected) => {
  expect(outgoing(options).world.place(peer)).toBe(expected)
})

test.each<[sentence: string, options: Partial<OutgoingOptions>, ip: string, leads: string]>([
  ["what is the pod's leads where it says", {}, "10.0.0.7", "there"],
  ["what is local leads where its name does on this machine", { tcp: false }, "10.0.0.7", "192.0.2.7"],
  ["and nowhere when this machine does not know the name", { tcp: false }, "10.0.0.8", "errno 14"],
  ["an address this machine told leads there", { tcp: false }, "10.0.0.9", "there"],
  ["and so does one nobody told", { tcp: false }, "10.0.0.10", "there"],
])("%s", async (_, options, ip, leads) => {
  const found = outgoing(options).world.elsewhere?.({ ip, port: 5432 })
  const led = found ? await found().catch(({ errno }) => `errno ${errno}`) : "there"
  expect(typeof led === "string" ? led : led.ip).toBe(leads)
})

test("a ping succeeds without asking anybody", async () => {
  const { world, heard } = outgoing({ answersPing: true })
  const connection = await world.connect(tcp("10.0.0.1", 7))
  expect(connection.write(Buffer.from("x"))).toBe(true)
  expect(heard.filter(({ kind }) => kind === "TcpOutgoing")).toEqual([])
})

test.each(["1.29.0", "1.10.0"])(
  "what a peer says in the breath in which it is reached is heard (%s)",
  async (version) => {
    const { world, heard, say } = outgoing({}, version)
    const connecting = world.connect(tcp("10.0.0.1"))
    const named = version === "1.29.0"
    if (!named) await until(() => heard.some(({ kind }) => kind === "TcpOutgoing"))
    const address = { kind: "Ip", value: { ip: "10.0.0.1", port: 80 } } as const
    const connect = { kind: "Ok", value: { connectionId: 4n, remoteAddress: address, localAddress: address } } as const
    const read = (text: string) =>
      ({ kind: "Read", value: { kind: "Ok", value: { connectionId: 4n, bytes: Buffer.from(text) } } }) as const
    const answer = named
      ? ({ kind: "ConnectV2", value: { uid: await uidOf(heard), connect } } as const)
      : ({ kind: "Connect", value: connect } as const)
    for (const value of [answer, read("220 ready"), read(""), { kind: "Close", value: 4n } as const])
      say({ kind: "TcpOutgoing", value })
    const told: string[] = []
    const connection = await connecting
    connection.attach({
      onData: (data) => told.push(Buffer.from(data).toString()),
      onDrain() {},
      onEnd: () => told.push("end"),
      onClose: () => told.push("close"),
    })
    expect(told).toEqual(["220 ready", "end", "close"])
  },
)

test("data flows both ways, half closes are told, and the end comes once", async () => {
  const { world, heard, say } = outgoing()
  const connecting = world.connect(tcp("10.0.0.1"))
  const uid = await uidOf(heard)
  const address = { kind: "Ip", value: { ip: "10.0.0.1", port: 80 } } as const
  const connect = { kind: "Ok", value: { connectionId: 4n, remoteAddress: address, localAddress: address } } as const
  say({ kind: "TcpOutgoing", value: { kind: "ConnectV2", value: { uid, connect } } })
  const connection = await connecting
  const told: string[] = []
  connection.pause()
  connection.attach({
    onData: (data) => told.push(`data ${Buffer.from(data)}`),
    onDrain: () => {},
    onEnd: () => told.push("end"),
    onClose: () => told.push("close"),
  })
  const read = (text: string) =>
    say({
      kind: "TcpOutgoing",
      value: { kind: "Read", value: { kind: "Ok", value: { connectionId: 4n, bytes: Buffer.from(text) } } },
    })
  read("hello")
  read("")
  connection.write(Buffer.from("ping"))
  connection.end()
  await until(() => heard.filter(({ kind }) => kind === "TcpOutgoing").length === 3)
  expect(told).toEqual([])
  connection.resume()
  say({ kind: "TcpOutgoing", value: { kind: "Close", value: 4n } })
  await until(() => told.includes("close"))
  expect(told).toEqual(["data hello", "end", "close"])
  connection.close()
  expect(heard.slice(-2)).toMatchObject([
    { value: { kind: "Write", value: { connectionId: 4n, bytes: new Uint8Array(Buffer.from("ping")) } } },
    { value: { kind: "Write", value: { connectionId: 4n, bytes: new Uint8Array() } } },
  ])
})

test("a refusal is the errno the pod saw; an agent that is gone is EIO", async () => {
  const { world, heard, say, conversation } = outgoing()
  const refused = world.connect(tcp("10.0.0.1"))
  const value = { rawOsError: 111, kind: { kind: "ConnectionRefused" } } as const
  say({
    kind: "TcpOutgoing",
    value: {
      kind: "ConnectV2",
      value: { uid: await uidOf(heard), connect: { kind: "Err", value: { kind: "RemoteIO", value } } },
    },
  })
  await expect(refused).rejects.toMatchObject({ errno: 111 })
  const waiting = world.connect(tcp("10.0.0.2"))
  conversation.end()
  await expect(waiting).rejects.toMatchObject({ errno: 5 })
})

test("an old agent is asked in the old form, and answers in order", async () => {
  const { world, heard, say } = outgoing({}, "1.21.0")
  const all = Promise.allSettled([world.connect(tcp("10.0.0.1")), world.connect(tcp("10.0.0.2"))])
  await until(() => heard.filter(({ kind }) => kind === "TcpOutgoing").length === 2)
  for (const rawOsError of [111, 113]) {
    const value = { rawOsError, kind: { kind: "Other" } } as const
    say({ kind: "TcpOutgoing", value: { kind: "Connect", value: { kind: "Err", value: { kind: "RemoteIO", value } } } })
  }
  expect(await all).toMatchObject([{ reason: { errno: 111 } }, { reason: { errno: 113 } }])
})

async function uidOf(heard: ClientMessage[]): Promise<string> {
  const last = () => heard.findLast((message) => message.kind === "TcpOutgoing")
  await until(() => last() !== undefined)
  return (last()!.value as { value: { uid: string } }).value.uid
}
