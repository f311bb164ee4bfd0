import { afterEach, beforeAll, describe, expect, test } from "bun:test"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { annsSession } from "../../../test/fakes/sessions.ts"
import { loadFolder } from "../../host/load.ts"
import { type LoadedPlugin, type Plugins, startPlugins } from "../../host.ts"
import { linkPair } from "../../link/index.ts"
import type { Link } from "../../link.ts"
import { silentLogger } from "../../log.ts"
import type { ClientMessage, DaemonMessage } from "../../protocol/index.ts"
import type { ResolvedPod } from "../../session.ts"
import type { PodAgent } from "./agent-connection.ts"
import { Relay } from "./relay.ts"
import type { SessionAgents } from "./session-agents.ts"
import type { Subscription } from "./subscription.ts"

/** A plugin as somebody outside would write it: it forbids by name, and is slow about it, so that order can go wrong. */
const outside = `
import { definePlugin } from "podside"
import * as v from "valibot"
const deny = (reason, more) => ({ allow: false, code: "house-rule", reason, ...more })
export default definePlugin({
  name: "house-rules",
  config: v.strictObject({}),
  operator: () => ({
    async authorizeSubscription({ mode, port, pods, filter }) {
      if (port === 9999) throw new Error("broken rule")
      if (filter?.kind === "Path") return deny("only by header", { policy: "headers-only" })
      return mode === "steal" && port === 443 ? deny("port 443 of " + pods.map((pod) => pod.name)) : { allow: true }
    },
    async authorizeFile({ path, access }) {
      await new Promise((resolve) => setTimeout(resolve, path.includes("slow") ? 30 : 0))
      if (path.startsWith("/own")) return deny("of each machine", { answer: "local" })
      if (path.startsWith("/hidden")) return deny("hidden", { answer: "not-found", policy: "hide" })
      if (path.startsWith("/odd")) return deny("odd", { answer: "allow" })
      return path.startsWith("/secret") || (access === "write" && path.startsWith("/etc")) ? deny("private") : { allow: true }
    },
    async authorizeOutgoing({ protocol, host, port, names }) {
      if (names.includes("billing.internal")) return deny("not " + names, { policy: "no-billing" })
      return host === "10.0.0.9" || host === "db.internal" ? deny(protocol + " " + host) : { allow: true }
    },
    filterEnv: (session, variables) => new Map([...variables].filter(([name]) => !name.startsWith("SECRET"))),
  }),
})`

let loaded: LoadedPlugin[]
let guarded: Plugins<"operator">
let open: Plugins<"operator">
beforeAll(async () => {
  const folder = mkdtempSync(join(tmpdir(), "podside-plugins-"))
  writeFileSync(join(folder, "house-rules.ts"), outside)
  loaded = await loadFolder(folder)
  rmSync(folder, { recursive: true })
  guarded = await startPlugins("operator", loaded, { log: silentLogger })
  open = await startPlugins("operator", [], { log: silentLogger })
})

/** An agent played by the test: what it received, and a way to say something. */
interface FakeAgent extends PodAgent {
  received: ClientMessage[]
  link: Link<ClientMessage, DaemonMessage>
  say(message: DaemonMessage): void
}

type Answer = (message: ClientMessage) => DaemonMessage | undefined

/** Answers versions and subscriptions as any agent does. */
const usual: Answer = (message) => {
  if (message.kind === "SwitchProtocolVersion") return { kind: "SwitchProtocolVersionResponse", value: message.value }
  const subscribe = message.kind === "Tcp" || message.kind === "TcpSteal" ? message.value : undefined
  if (subscribe?.kind !== "PortSubscribe") return undefined
  const port = typeof subscribe.value === "number" ? subscribe.value : portOf(subscribe.value)
  return { kind: message.kind as "Tcp", value: { kind: "SubscribeResult", value: { kind: "Ok", value: port } } }
}
const portOf = (type: { value: number | readonly [number, unknown] }) =>
  typeof type.value === "number" ? type.value : type.value[0]

function fakeAgent(name: string, answer: Answer = usual): FakeAgent {
  const pod: ResolvedPod = { name, namespace: "shop", labels: {}, owners: [] }
  const agent: FakeAgent = {
    pod,
    received: [],
    link: undefined as never,
    say: (message) => void agent.link.send(message),
    async connect() {
      const { client, agent: end } = linkPair()
      agent.link = end
      end.receive((message) => {
        agent.received.push(message)
        const reply = answer(message)
        if (reply) end.send(reply)
      })
      return client
    },
  }
  return agent
}

class Pods implements SessionAgents {
  agents: FakeAgent[]
  readonly #listeners = new Set<() => void>()
  constructor(agents: FakeAgent[]) {
    this.agents = agents
  }
  primary = () => this.agents[0]
  all = () => this.agents
  pods = () => this.agents.map(({ pod }) => pod!)
  onChange(listener: () => void) {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }
  change(agents: FakeAgent[]) {
    this.agents = agents
    for (const listener of [...this.#listeners]) listener()
  }
  async follow() {}
  close() {}
}

const links: Link<DaemonMessage, ClientMessage>[] = []
afterEach(() => {
  for (const link of links.splice(0)) link.abort()
})

async function relayTo(agents: FakeAgent[], plugins: Plugins<"operator"> = open, lock = async () => true) {
  const pods = new Pods(agents)
  const { client, agent: end } = linkPair()
  links.push(client)
  const denials: string[] = []
  const had: number[] = []
  const first = { agent: agents[0]!, link: await agents[0]!.connect(AbortSignal.timeout(30_000)) }
  const relay = new Relay({
    client: end,
    first,
    session: annsSession,
    agents: pods,
    plugins,
    lock,
    unlock: () => {},
    onDenied: (what, { reason, policy }) => denials.push(`${what}: ${reason}${policy ? ` by ${policy}` : ""}`),
    onSubscribed: ({ port }) => had.push(port),
    onStolen: () => {},
    onLatency: () => {},
    noPodMs: 5_000,
    log: silentLogger,
  })
  const inbox: DaemonMessage[] = []
  let wake: (() => void) | undefined
  client.receive((message) => {
    inbox.push(message)
    wake?.()
  })
  const next = async (): Promise<DaemonMessage> => {
    const until = Date.now() + 30_000
    for (;;) {
      const message = inbox.shift()
      if (message) return message
      if (Date.now() > until) throw new Error("no message came")
      await new Promise<void>((resolve) => {
        wake = resolve
        setTimeout(resolve, 50)
      })
    }
  }
  return { relay, client, next, pods, denials, had, inbox }
}

async function until(what: string, condition: () => boolean): Promise<void> {
  for (let i = 0; i < 3000; i++) {
    if (condition()) return
    await Bun.sleep(10)
  }
  throw new Error(`never: ${what}`)
}

const steal = (port: number): ClientMessage => ({
  kind: "TcpSteal",
  value: { kind: "PortSubscribe", value: { kind: "All", value: port } },
})
const open1 = (path: string, write = false): ClientMessage => ({
  kind: "FileRequest",
  value: {
    kind: "Open",
    value: {
      path,
      openOptions: { read: true, write, append: false, truncate: false, create: false, createNew: false },
    },
  },
})
const opened = (fd: bigint): DaemonMessage => ({
  kind: "File",
  value: { kind: "Open", value: { kind: "Ok", value: { fd } } },
})
const connection = (connectionId: bigint): DaemonMessage => ({
  kind: "TcpSteal",
  value: {
    kind: "NewConnectionV2",
    value: {
      connection: {
        connectionId,
        remoteAddress: "10.0.0.1",
        destinationPort: 80,
        sourcePort: 1,
        localAddress: "10.0.0.2",
      },
      transport: { kind: "Tcp" },
    },
  },
})

describe("one socket, several pods", () => {
  test("a subscription reaches every pod once, and is answered once", async () => {
    const agents = [fakeAgent("a"), fakeAgent("b"), fakeAgent("c")]
    const { client, next, inbox, had } = await relayTo(agents)
    client.send(steal(80))
    expect(await next()).toEqual({
      kind: "TcpSteal",
      value: { kind: "SubscribeResult", value: { kind: "Ok", value: 80 } },
    })
    for (const agent of agents) expect(agent.received.filter(({ kind }) => kind === "TcpSteal")).toHaveLength(1)
    expect(inbox).toEqual([])
    expect(had).toEqual([80])
  })

  test("connections with equal ids of two pods are kept apart, both ways", async () => {
    const [a, b] = [fakeAgent("a"), fakeAgent("b")]
    const { client, next } = await relayTo([a, b])
    client.send(steal(80))
    await next()
    a.say(connection(0n))
    const first = await next()
    b.say(connection(0n))
    const second = await next()
    const idOf = (message: DaemonMessage) =>
      message.kind === "TcpSteal" && message.value.kind === "NewConnectionV2"
        ? message.value.value.connection.connectionId
        : -1n
    expect([idOf(first), idOf(second)]).toEqual([0n, 1n])
    client.send({ kind: "TcpSteal", value: { kind: "Data", value: { connectionId: 1n, bytes: new Uint8Array([7]) } } })
    await until("data at b", () => b.received.length === 2)
    expect(b.received[1]).toEqual({
      kind: "TcpSteal",
      value: { kind: "Data", value: { connectionId: 0n, bytes: new Uint8Array([7]) } },
    })
    expect(a.received).toHaveLength(1)
    b.say({ kind: "TcpSteal", value: { kind: "Close", value: { connectionId: 0n } } })
    expect(await next()).toEqual({ kind: "TcpSteal", value: { kind: "Close", value: { connectionId: 1n } } })
    // What comes late for a connection that is over goes nowhere.
    client.send({ kind: "TcpSteal", value: { kind: "Data", value: { connectionId: 1n, bytes: new Uint8Array([8]) } } })
    client.send({ kind: "TcpSteal", value: { kind: "Data", value: { connectionId: 0n, bytes: new Uint8Array([9]) } } })
    await until("data at a", () => a.received.length === 2)
    expect(b.received).toHaveLength(2)
  })

  test("a pod that comes later gets the subscriptions, one that goes ends its connections", async () => {
    const [a, b] = [fakeAgent("a"), fakeAgent("b")]
    const { client, next, pods } = await relayTo([a])
    client.send({ kind: "SwitchProtocolVersion", value: "1.29.0" })
    await next()
    client.send(steal(80))
    await next()
    pods.change([a, b])
    await until("subscription at b", () => b.received.some(({ kind }) => kind === "TcpSteal"))
    expect(b.received.map(({ kind }) => kind)).toEqual(["SwitchProtocolVersion", "TcpSteal"])
    b.say(connection(5n))
    await next()
    b.link.abort()
    expect(await next()).toEqual({ kind: "TcpSteal", value: { kind: "Close", value: { connectionId: 0n } } })
    a.say(connection(0n))
    expect(await next()).toMatchObject({ value: { value: { connection: { connectionId: 1n } } } })
  })

  test("the lowest version of all agents is agreed", async () => {
    const old = fakeAgent("old", (message) =>
      message.kind === "SwitchProtocolVersion"
        ? { kind: "SwitchProtocolVersionResponse", value: "1.20.0" }
        : usual(message),
    )
    const { client, next } = await relayTo([old])
    client.send({ kind: "SwitchProtocolVersion", value: "1.99.0" })
    expect(await next()).toEqual({ kind: "SwitchProtocolVersionResponse", value: "1.20.0" })
  })

  test("a port somebody else has is refused, and no agent hears of it", async () => {
    const a = fakeAgent("a")
    const { client, next, had } = await relayTo([a], open, async () => false)
    client.send(steal(80))
    expect(await next()).toEqual({
      kind: "TcpSteal",
      value: { kind: "SubscribeResult", value: { kind: "Err", value: { kind: "PortAlreadyStolen", value: 80 } } },
    })
    expect(a.received).toEqual([])
    expect(had).toEqual([])
  })

  test("a port that another socket of the session has taken is given up at every pod, and the client is not told", async () => {
    const [a, b, c] = [fakeAgent("a"), fakeAgent("b"), fakeAgent("c")]
    const { client, next, pods, relay, inbox } = await relayTo([a, b])
    client.send(steal(80))
    await next()
    client.send(steal(81))
    await next()
    const port = 80
    relay.incoming.leave({ mode: "steal", port, request: steal(port) as Subscription["request"] })
    const unsubscribed = { kind: "TcpSteal", value: { kind: "PortUnsubscribe", value: port } } as ClientMessage
    for (const agent of [a, b]) {
      await until(`the end at ${agent.pod?.name}`, () => agent.received.length === 3)
      expect(agent.received.at(-1)).toEqual(unsubscribed)
    }
    // What it does about that port later concerns nobody.
    client.send(unsubscribed)
    pods.change([a, b, c])
    await until("the other port at c", () => c.received.length > 0)
    client.send(steal(82))
    expect(await next()).toMatchObject({ value: { value: { value: 82 } } })
    expect(c.received).toEqual([steal(81), steal(82)])
    expect(a.received).toHaveLength(4)
    expect(inbox).toEqual([])
  })

  test("a port that is taken while its agents are still asked is given up after that", async () => {
    const answers: (() => void)[] = []
    const a = fakeAgent("a", (message) => {
      if (message.kind === "TcpSteal" && message.value.kind === "PortSubscribe") {
        const reply = usual(message)!
        answers.push(() => a.say(reply))
        return undefined
      }
      return usual(message)
    })
    const { client, next, relay } = await relayTo([a])
    client.send(steal(80))
    await until("the question", () => answers.length === 1)
    relay.incoming.leave({ mode: "steal", port: 80, request: steal(80) as Subscription["request"] })
    for (const answer of answers) answer()
    expect(await next()).toMatchObject({ value: { value: { kind: "Ok", value: 80 } } })
    await until("the end", () => a.received.length === 3)
    expect(a.received.map((message) => message.kind === "TcpSteal" && message.value.kind)).toEqual([
      "PortSubscribe",
      "PortUnsubscribe",
      "PortUnsubscribe",
    ])
  })
})

describe("a pod that is replaced", () => {
  const readAt = (remoteFd: bigint): ClientMessage => ({
    kind: "FileRequest",
    value: { kind: "ReadLimited", value: { remoteFd, bufferSize: 1n, startFrom: 0n } },
  })
  const uid = "00000000-0000-4000-8000-000000000001"
  const address = { kind: "Ip", value: { ip: "10.0.0.8", port: 80 } } as const
  const connected = (connectionId: bigint): DaemonMessage => ({
    kind: "TcpOutgoing",
    value: {
      kind: "ConnectV2",
      value: { uid, connect: { kind: "Ok", value: { connectionId, remoteAddress: address, localAddress: address } } },
    },
  })

  test("the session goes on: what was open ends, what is asked meanwhile waits, old numbers stay dead", async () => {
    const [a, b] = [fakeAgent("a"), fakeAgent("b")]
    const { client, next, pods } = await relayTo([a])
    client.send(steal(80))
    await next()
    client.send(open1("/one"))
    client.send({ kind: "TcpOutgoing", value: { kind: "ConnectV2", value: { uid, remoteAddress: address } } })
    await until("both requests", () => a.received.length === 3)
    a.say(opened(0n))
    a.say(connected(0n))
    await next()
    await next()
    client.send(open1("/unanswered"))
    await until("the last request", () => a.received.length === 4)

    a.link.abort()
    expect(await next()).toEqual({ kind: "TcpOutgoing", value: { kind: "Close", value: 0n } })
    expect(await next()).toMatchObject({
      kind: "File",
      value: { kind: "Open", value: { kind: "Err", value: { kind: "SystemFailure", value: { code: 1 } } } },
    })
    client.send(open1("/two"))
    client.send({ kind: "Ping" })
    expect(await next()).toEqual({ kind: "Pong" })
    pods.change([b])
    await until("what waited, and the subscription", () => b.received.length === 2)
    expect(b.received.map(({ kind }) => kind).sort()).toEqual(["FileRequest", "TcpSteal"])
    b.say(opened(0n))
    expect(await next()).toEqual(opened(1n))
    client.send(readAt(0n))
    expect(await next()).toMatchObject({
      value: { kind: "ReadLimited", value: { kind: "Err", value: { kind: "RemoteIO", value: { rawOsError: 9 } } } },
    })
    client.send(readAt(1n))
    await until("the read", () => b.received.length === 3)
    expect(b.received[2]).toEqual(readAt(0n))
    client.send({ kind: "TcpOutgoing", value: { kind: "ConnectV2", value: { uid, remoteAddress: address } } })
    await until("the connect", () => b.received.length === 4)
    b.say(connected(0n))
    expect(await next()).toEqual(connected(1n))
    b.say(connection(0n))
    expect(await next()).toMatchObject({ kind: "TcpSteal", value: { kind: "NewConnectionV2" } })
  })
})

describe("what the link itself is about", () => {
  test("pings are answered here, logs wait until the client is ready for them", async () => {
    const a = fakeAgent("a")
    const { client, next } = await relayTo([a])
    a.say({ kind: "LogMessage", value: { message: "early", level: { kind: "Warn" } } })
    client.send({ kind: "Ping" })
    expect(await next()).toEqual({ kind: "Pong" })
    client.send({ kind: "ReadyForLogs" })
    await until("ReadyForLogs at the agent", () => a.received.length === 1)
    a.say({ kind: "LogMessage", value: { message: "later", level: { kind: "Warn" } } })
    expect(await next()).toMatchObject({ kind: "LogMessage", value: { message: "later" } })
  })

  test.each(["Vpn", "ShareLink", "PauseTargetRequest"] as const)("%s ends the socket with a reason", async (kind) => {
    const { client, next } = await relayTo([fakeAgent("a")])
    const messages = {
      Vpn: { kind: "Vpn", value: { kind: "OpenSocket" } },
      ShareLink: { kind: "ShareLink", value: { kind: "RegisterKey", value: "k" } },
      PauseTargetRequest: { kind: "PauseTargetRequest", value: true },
    } as const
    client.send(messages[kind])
    expect(await next()).toMatchObject({ kind: "Close" })
    await client.ended
  })

  test("a slow client stops its agent instead of filling memory", async () => {
    const a = fakeAgent("a")
    const { client } = await relayTo([a])
    client.pause()
    const bytes = new Uint8Array(64 * 1024)
    let sent = 0
    for (let full = false; !full && sent < 4096; sent++) {
      full = !a.link.send({
        kind: "TcpOutgoing",
        value: { kind: "Read", value: { kind: "Ok", value: { connectionId: 0n, bytes } } },
      })
      await new Promise((resolve) => setImmediate(resolve))
    }
    // A few megabytes are in the queues of the way; the rest is still with the agent.
    expect(sent).toBeLessThan(128)
    client.resume()
    await a.link.whenWritable()
  })
})

describe("plugins from outside", () => {
  test("a denied subscription names rule and reason; the same port may be mirrored", async () => {
    const a = fakeAgent("a")
    const { client, next, denials } = await relayTo([a], guarded)
    client.send({ kind: "SwitchProtocolVersion", value: "1.29.0" })
    await next()
    client.send(steal(443))
    expect(await next()).toEqual({
      kind: "TcpSteal",
      value: {
        kind: "SubscribeResult",
        value: {
          kind: "Err",
          value: {
            kind: "ForbiddenWithReason",
            value: {
              blockedAction: { kind: "Steal", value: { kind: "All", value: 443 } },
              policyName: "house-rules",
              reason: "port 443 of a",
            },
          },
        },
      },
    })
    client.send({ kind: "Tcp", value: { kind: "PortSubscribe", value: 443 } })
    expect(await next()).toMatchObject({ kind: "Tcp", value: { value: { kind: "Ok" } } })
    expect(denials).toEqual(["steal port 443: port 443 of a"])
    expect(a.received.filter(({ kind }) => kind === "TcpSteal")).toEqual([])
  })

  test("a denial names the policy behind it, and judges filters by what they are", async () => {
    const { client, next, denials } = await relayTo([fakeAgent("a")], guarded)
    const filtered = (kind: "Path" | "Header"): ClientMessage => ({
      kind: "TcpSteal",
      value: {
        kind: "PortSubscribe",
        value: { kind: "FilteredHttpEx", value: [80, { kind, value: "x" }] },
      },
    })
    client.send(filtered("Path"))
    // A client of no version yet knows no reasons.
    expect(await next()).toMatchObject({
      value: { value: { kind: "Err", value: { kind: "Forbidden", value: { policyName: "headers-only" } } } },
    })
    client.send(filtered("Header"))
    expect(await next()).toMatchObject({ value: { value: { kind: "Ok" } } })
    expect(denials).toEqual(["steal port 80: only by header by headers-only"])
  })

  test.each([
    ["1.29.0", "OpenLocal"],
    ["1.13.0", "RemoteIO 2"],
  ])("to a client of %s a file that is to be its own is %s, one that is hidden is not there", async (version, own) => {
    const a = fakeAgent("a")
    const { client, next, denials } = await relayTo([a], guarded)
    client.send({ kind: "SwitchProtocolVersion", value: version })
    await next()
    const looks = (pathname: string): ClientMessage => ({
      kind: "FileRequest",
      value: { kind: "Access", value: { pathname, mode: 4 } },
    })
    const answerTo = async (message: ClientMessage) => {
      client.send(message)
      const { value } = (await next()) as {
        value: { value: { value: { kind: string; value?: { rawOsError: number } } } }
      }
      const { kind, value: error } = value.value.value
      return error ? `${kind} ${error.rawOsError}` : kind
    }
    expect(await answerTo(open1("/own/config"))).toBe(own)
    expect(await answerTo(looks("/own/config"))).toBe("RemoteIO 2")
    expect(denials).toEqual([])
    expect(await answerTo(open1("/hidden/key"))).toBe("RemoteIO 2")
    expect(await answerTo(looks("/hidden/key"))).toBe("RemoteIO 2")
    // What nobody knows is no permission.
    expect(await answerTo(open1("/odd"))).toBe("RemoteIO 13")
    expect(denials).toEqual(["read /hidden/key: hidden by hide", "read /hidden/key: hidden by hide", "read /odd: odd"])
    client.send(open1("/public"))
    await until("what is allowed at the agent", () => a.received.some(({ kind }) => kind === "FileRequest"))
  })

  test("connections are judged by the names their client has looked up", async () => {
    const a = fakeAgent("a")
    const { client, next, denials } = await relayTo([a], guarded)
    const lookUp = async (node: string, ...ips: string[]) => {
      client.send({ kind: "GetAddrInfoRequest", value: { node } })
      await until("the question", () => a.received.at(-1)?.kind === "GetAddrInfoRequest")
      const records = ips.map((ip) => ({ name: node, ip }))
      a.say({ kind: "GetAddrInfoResponse", value: { kind: "Ok", value: records } })
      await next()
      a.received.length = 0
    }
    await lookUp("web.internal", "10.0.0.1", "10.0.0.2")
    await lookUp("Billing.Internal.", "10.0.0.2")
    const uid = "00000000-0000-4000-8000-000000000001"
    const connectTo = (ip: string) =>
      client.send({
        kind: "TcpOutgoing",
        value: { kind: "ConnectV2", value: { uid, remoteAddress: { kind: "Ip", value: { ip, port: 443 } } } },
      })
    connectTo("10.0.0.2")
    expect(await next()).toMatchObject({
      value: { value: { connect: { kind: "Err", value: { value: { policyName: "no-billing" } } } } },
    })
    expect(denials).toEqual(["tcp 10.0.0.2:443: not web.internal,billing.internal by no-billing"])
    connectTo("10.0.0.1")
    connectTo("10.0.0.3")
    await until("what is allowed at the agent", () => a.received.length === 2)
  })

  test("a rule that throws denies", async () => {
    const { client, next } = await relayTo([fakeAgent("a")], guarded)
    client.send({ kind: "Tcp", value: { kind: "PortSubscribe", value: 9999 } })
    expect(await next()).toMatchObject({ value: { value: { kind: "Err", value: { kind: "Forbidden" } } } })
  })

  test("denied files are answered in their place among the others", async () => {
    const a = fakeAgent("a")
    const { client, next } = await relayTo([a], guarded)
    for (const path of ["/slow/one", "/secret/two", "/three", "/x/../secret/four"]) client.send(open1(path))
    client.send(open1("/etc/five", true))
    client.send(open1("/etc/six"))
    await until("what is allowed at the agent", () => a.received.length === 3)
    for (const fd of [0n, 1n, 2n]) a.say(opened(fd))
    const results = []
    for (let i = 0; i < 6; i++) results.push(await next())
    const shown = results.map((message) =>
      message.kind === "File" && message.value.kind === "Open" && message.value.value.kind === "Ok"
        ? message.value.value.value.fd
        : "denied",
    )
    expect(shown).toEqual([0n, "denied", 1n, "denied", "denied", 2n])
  })

  test("paths below a folder are judged by the folder's path", async () => {
    const a = fakeAgent("a")
    const { client, next } = await relayTo([a], guarded)
    client.send(open1("/"))
    await until("the folder", () => a.received.length === 1)
    a.say(opened(3n))
    await next()
    const options = { read: true, write: false, append: false, truncate: false, create: false, createNew: false }
    const below = (relativeFd: bigint, path: string): ClientMessage => ({
      kind: "FileRequest",
      value: { kind: "OpenRelative", value: { relativeFd, path, openOptions: options } },
    })
    client.send(below(3n, "secret/key"))
    expect(await next()).toMatchObject({ value: { kind: "Open", value: { kind: "Err" } } })
    client.send(below(77n, "anything"))
    expect(await next()).toMatchObject({ value: { kind: "Open", value: { kind: "Err" } } })
    client.send(below(3n, "public"))
    await until("what is allowed", () => a.received.length === 2)
  })

  test("denied connections and names fail, allowed ones go on", async () => {
    const a = fakeAgent("a")
    const { client, next } = await relayTo([a], guarded)
    client.send({ kind: "SwitchProtocolVersion", value: "1.29.0" })
    await next()
    const uid = "00000000-0000-4000-8000-000000000001"
    const connectTo = (ip: string): ClientMessage => ({
      kind: "TcpOutgoing",
      value: { kind: "ConnectV2", value: { uid, remoteAddress: { kind: "Ip", value: { ip, port: 5432 } } } },
    })
    client.send(connectTo("10.0.0.9"))
    expect(await next()).toMatchObject({
      kind: "TcpOutgoing",
      value: { kind: "ConnectV2", value: { uid, connect: { kind: "Err", value: { kind: "ForbiddenWithReason" } } } },
    })
    for (const node of ["db.internal", "db.internal."]) {
      client.send({ kind: "GetAddrInfoRequest", value: { node } })
      expect(await next()).toMatchObject({
        kind: "GetAddrInfoResponse",
        value: { kind: "Err", value: { kind: "DnsLookup" } },
      })
    }
    client.send(connectTo("10.0.0.8"))
    client.send({ kind: "GetAddrInfoRequest", value: { node: "web.internal." } })
    await until("what is allowed at the agent", () => a.received.length === 3)
  })

  test("variables a plugin takes away do not arrive", async () => {
    const a = fakeAgent("a")
    const { client, next } = await relayTo([a], guarded)
    client.send({ kind: "GetEnvVarsRequest", value: { envVarsFilter: [], envVarsSelect: [] } })
    await until("the request", () => a.received.length === 1)
    a.say({
      kind: "GetEnvVarsResponse",
      value: {
        kind: "Ok",
        value: new Map([
          ["SECRET_KEY", "x"],
          ["HOST", "y"],
        ]),
      },
    })
    expect(await next()).toEqual({ kind: "GetEnvVarsResponse", value: { kind: "Ok", value: new Map([["HOST", "y"]]) } })
  })
})
