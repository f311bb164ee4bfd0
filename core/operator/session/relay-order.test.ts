import { afterEach, beforeAll, expect, test } from "bun:test"
import { annsSession } from "../../../test/fakes/sessions.ts"
import type { Plugins } from "../../host.ts"
import { startPlugins } from "../../host.ts"
import { linkPair } from "../../link/index.ts"
import type { Link } from "../../link.ts"
import { silentLogger } from "../../log.ts"
import type { ClientMessage, DaemonMessage } from "../../protocol/index.ts"
import type { ResolvedPod } from "../../session.ts"
import type { PodAgent } from "./agent-connection.ts"
import { Relay } from "./relay.ts"
import type { SessionAgents } from "./session-agents.ts"

/* What happens behind the relay while it waits for a plugin, a lock or an agent: each wait is the test's to end. */

let open: Plugins<"operator">
beforeAll(async () => {
  open = await startPlugins("operator", [], { log: silentLogger })
})

type Authorize = (hook: string, request: Record<string, unknown>) => Promise<object>
const allow = { allow: true }

/** As if one plugin had every hook of that kind. */
const judging = (authorize: Authorize): Plugins<"operator"> => ({
  ...open,
  has: (hook) => hook === "authorizeFile",
  authorize: authorize as Plugins<"operator">["authorize"],
})

interface FakeAgent extends PodAgent {
  received: ClientMessage[]
  link: Link<ClientMessage, DaemonMessage>
  /** Answers to subscriptions that have not been given yet. */
  owed: (() => void)[]
}

/** @param isPrompt false: subscriptions are answered when the test says so */
function fakeAgent(name: string, isPrompt = true, connected: Promise<void> = Promise.resolve()): FakeAgent {
  const agent: FakeAgent = {
    pod: { name, namespace: "shop", labels: {}, owners: [] },
    received: [],
    owed: [],
    link: undefined as never,
    async connect() {
      await connected
      const { client, agent: end } = linkPair()
      agent.link = end
      end.receive((message) => {
        agent.received.push(message)
        if (message.kind !== "TcpSteal" || message.value.kind !== "PortSubscribe") return
        const answer = () =>
          void end.send({ kind: "TcpSteal", value: { kind: "SubscribeResult", value: { kind: "Ok", value: 80 } } })
        if (isPrompt) answer()
        else agent.owed.push(answer)
      })
      return client
    },
  }
  return agent
}

const links: Link<DaemonMessage, ClientMessage>[] = []
afterEach(() => {
  for (const link of links.splice(0)) link.abort()
})

interface Given {
  plugins?: Plugins<"operator">
  lock?: (extend: boolean) => Promise<boolean>
}

async function relayTo(first: FakeAgent, { plugins = open, lock = async () => true }: Given = {}) {
  let agents = [first]
  const listeners = new Set<() => void>()
  const pods: SessionAgents = {
    primary: () => agents[0],
    all: () => agents,
    pods: () => agents.map(({ pod }) => pod!),
    onChange(listener) {
      listeners.add(listener)
      return () => listeners.delete(listener)
    },
    async follow() {},
    close() {},
  }
  const change = (now: FakeAgent[]) => {
    agents = now
    for (const listener of [...listeners]) listener()
  }
  const { client, agent: end } = linkPair()
  links.push(client)
  const [locked, unlocked, inbox]: [string[], number[], DaemonMessage[]] = [[], [], []]
  const relay = new Relay({
    client: end,
    first: { agent: first, link: await first.connect(AbortSignal.timeout(30_000)) },
    session: annsSession,
    agents: pods,
    plugins,
    lock: ({ port }, extend = false) => {
      locked.push(`${port}${extend ? " for more pods" : ""}`)
      return lock(extend)
    },
    unlock: ({ port }) => void unlocked.push(port),
    onDenied: () => {},
    onSubscribed: () => {},
    onStolen: () => {},
    onLatency: () => {},
    noPodMs: 5_000,
    log: silentLogger,
  })
  client.receive((message) => void inbox.push(message))
  return { relay, client, change, locked, unlocked, inbox }
}

async function until(what: string, condition: () => boolean): Promise<void> {
  for (let i = 0; i < 1000; i++) {
    if (condition()) return
    await Bun.sleep(5)
  }
  throw new Error(`never: ${what}`)
}

/** Whatever is on its way in memory has come by then. */
async function turns(): Promise<void> {
  for (let i = 0; i < 50; i++) await new Promise(setImmediate)
}

const steal80: ClientMessage = {
  kind: "TcpSteal",
  value: { kind: "PortSubscribe", value: { kind: "All", value: 80 } },
}
const unsubscribe80: ClientMessage = { kind: "TcpSteal", value: { kind: "PortUnsubscribe", value: 80 } }
const stealing = ({ received }: FakeAgent) =>
  received.flatMap((message) => (message.kind === "TcpSteal" ? [message.value.kind] : []))

test("nobody's port is taken for a client that left while a plugin thought about it", async () => {
  const verdict = Promise.withResolvers<object>()
  let asked = 0
  const { relay, client, locked } = await relayTo(fakeAgent("a"), {
    plugins: judging(() => {
      asked++
      return verdict.promise
    }),
  })
  client.send(steal80)
  await until("the question", () => asked === 1)
  client.abort()
  await relay.ended
  verdict.resolve(allow)
  await turns()
  expect(locked).toEqual([])
})

test("a port that is granted to a client that has left is given back", async () => {
  const grant = Promise.withResolvers<boolean>()
  const a = fakeAgent("a")
  const { relay, client, locked, unlocked } = await relayTo(a, { lock: () => grant.promise })
  client.send(steal80)
  await until("the lock", () => locked.length === 1)
  client.abort()
  await relay.ended
  grant.resolve(true)
  await until("its return", () => unlocked.length > 0)
  expect([unlocked, stealing(a)]).toEqual([[80], []])
})

test("a port whose agents still owe an answer when their client leaves is given back", async () => {
  const a = fakeAgent("a", false)
  const { relay, client, unlocked } = await relayTo(a)
  client.send(steal80)
  await until("the question", () => a.owed.length === 1)
  client.abort()
  await relay.ended
  await until("its return", () => unlocked.length > 0)
  expect(unlocked).toEqual([80])
})

test("a port that perhaps was granted is given back, one that is had already is not", async () => {
  let grants = false
  const { client, inbox, unlocked } = await relayTo(fakeAgent("a"), { lock: async () => grants })
  client.send(steal80)
  await until("the refusal", () => inbox.length === 1)
  expect(unlocked).toEqual([80])
  grants = true
  client.send(steal80)
  await until("the port", () => inbox.length === 2)
  grants = false
  client.send(steal80)
  await until("the second refusal", () => inbox.length === 3)
  expect(unlocked).toEqual([80])
})

test("a pod that comes while the others are asked for a port is asked, too, and once", async () => {
  const [a, b] = [fakeAgent("a", false), fakeAgent("b")]
  const { client, change, inbox } = await relayTo(a)
  client.send(steal80)
  await until("the question", () => a.owed.length === 1)
  change([a, b])
  await until("the same at the other", () => stealing(b).length === 1)
  for (const answer of a.owed) answer()
  await until("the port", () => inbox.length === 1)
  change([a, b])
  await turns()
  expect([stealing(a), stealing(b)]).toEqual([["PortSubscribe"], ["PortSubscribe"]])
})

test("a port that is given back while a new pod is locked is not asked for there", async () => {
  const grant = Promise.withResolvers<boolean>()
  const [a, b] = [fakeAgent("a"), fakeAgent("b")]
  const { client, change, inbox, locked } = await relayTo(a, { lock: async (extend) => !extend || grant.promise })
  client.send(steal80)
  await until("the port", () => inbox.length === 1)
  change([a, b])
  await until("the lock", () => locked.length === 2)
  client.send(unsubscribe80)
  await until("the end", () => stealing(b).length === 1)
  grant.resolve(true)
  await turns()
  expect(stealing(b)).toEqual(["PortUnsubscribe"])
})

test("an agent that is lost while it gets the ports of the one before is not the one that answers", async () => {
  const grant = Promise.withResolvers<boolean>()
  let isReachable = false
  const [a, b, c] = [fakeAgent("a"), fakeAgent("b"), fakeAgent("c")]
  const connect = b.connect.bind(b)
  b.connect = async (signal) => {
    if (!isReachable) throw new Error("not yet")
    return connect(signal)
  }
  const { client, change, inbox, locked } = await relayTo(a, { lock: async (extend) => !extend || grant.promise })
  change([b, a])
  client.send(steal80)
  await until("the port", () => inbox.length === 1)
  isReachable = true
  a.link.abort()
  await until("the lock", () => locked.length === 2)
  b.link.abort()
  await turns()
  grant.resolve(true)
  await turns()
  change([c])
  client.send({ kind: "GetEnvVarsRequest", value: { envVarsFilter: [], envVarsSelect: [] } })
  await until("the question at the third", () => c.received.some(({ kind }) => kind === "GetEnvVarsRequest"))
})

test("a connection that comes when its client has left is not kept", async () => {
  const connected = Promise.withResolvers<void>()
  const [a, b] = [fakeAgent("a"), fakeAgent("b", true, connected.promise)]
  const { relay, client, change, inbox } = await relayTo(a)
  client.send(steal80)
  await until("the port", () => inbox.length === 1)
  change([a, b])
  client.abort()
  await relay.ended
  connected.resolve()
  await until("the connection", () => b.link !== undefined)
  await b.link.ended
})

test("a plugin judges a port for the pods that come later, and for those that come while it is judged", async () => {
  const verdict = Promise.withResolvers<void>()
  const judged: string[][] = []
  const plugins = judging(async (_, { pods }) => {
    const names = (pods as ResolvedPod[]).map(({ name }) => name)
    judged.push(names)
    if (judged.length === 1) await verdict.promise
    return names.includes("secret") ? { allow: false, code: "no", reason: "secret", plugin: "rules" } : allow
  })
  const [a, b, secret] = [fakeAgent("a"), fakeAgent("b"), fakeAgent("secret")]
  const { client, change, inbox, locked } = await relayTo(a, { plugins })
  client.send(steal80)
  await until("the question", () => judged.length === 1)
  change([a, secret])
  verdict.resolve()
  await until("the port", () => inbox.length === 1)
  await until("the question about the other pod", () => judged.length === 2)
  change([a, b])
  await until("the port at the allowed one", () => stealing(b).length === 1)
  expect([stealing(a), stealing(secret), locked]).toEqual([["PortSubscribe"], [], ["80", "80 for more pods"]])
})

test("a port whose pods are all replaced while a plugin thinks about it is judged again", async () => {
  const verdict = Promise.withResolvers<void>()
  let asked = 0
  const plugins = judging(async () => {
    if (asked++ === 0) await verdict.promise
    return allow
  })
  const [a, b] = [fakeAgent("a"), fakeAgent("b")]
  const { client, change, inbox } = await relayTo(a, { plugins })
  client.send(steal80)
  await until("the question", () => asked === 1)
  change([b])
  a.link.abort()
  await turns()
  verdict.resolve()
  await until("the port", () => inbox.length === 1)
  expect(inbox[0]).toMatchObject({ value: { value: { kind: "Ok", value: 80 } } })
  expect([stealing(a), stealing(b)]).toEqual([[], ["PortSubscribe"]])
})

test("a pod that is usable again has each port once, those too that were asked for meanwhile", async () => {
  const [a, b] = [fakeAgent("a"), fakeAgent("b")]
  const { client, change, inbox } = await relayTo(a)
  change([a, b])
  client.send(steal80)
  await until("the port", () => inbox.length === 1)
  const connected = b.link
  change([a])
  client.send({ kind: "TcpSteal", value: { kind: "PortSubscribe", value: { kind: "All", value: 81 } } })
  await until("the next port", () => inbox.length === 2)
  change([a, b])
  await until("the same at the other", () => b.received.length === 2)
  change([a, b])
  await turns()
  expect(b.link).toBe(connected)
  expect([stealing(a), stealing(b)]).toEqual([
    ["PortSubscribe", "PortSubscribe"],
    ["PortSubscribe", "PortSubscribe"],
  ])
})

test("a path is judged by the folder its descriptor is, also after an agent was lost in the middle of a judgement", async () => {
  const verdict = Promise.withResolvers<void>()
  const judged: unknown[] = []
  const plugins = judging(async (_, { path }) => {
    judged.push(path)
    if (path === "/old/slow") await verdict.promise
    return allow
  })
  const openOptions = { read: true, write: false, append: false, truncate: false, create: false, createNew: false }
  const openAt = (path: string): ClientMessage => ({
    kind: "FileRequest",
    value: { kind: "Open", value: { path, openOptions } },
  })
  const openBelow = (relativeFd: bigint, path: string): ClientMessage => ({
    kind: "FileRequest",
    value: { kind: "OpenRelative", value: { relativeFd, path, openOptions } },
  })
  const opened = (fd: bigint): DaemonMessage => ({
    kind: "File",
    value: { kind: "Open", value: { kind: "Ok", value: { fd } } },
  })
  const [a, b] = [fakeAgent("a"), fakeAgent("b")]
  const { client, change, inbox } = await relayTo(a, { plugins })
  client.send(openAt("/old"))
  await until("the request", () => a.received.length === 1)
  a.link.send(opened(0n))
  await until("the folder", () => inbox.length === 1)
  client.send(openBelow(0n, "slow"))
  await until("the judgement", () => judged.includes("/old/slow"))
  a.link.abort()
  await turns()
  change([b])
  verdict.resolve()
  await until("the failure", () => inbox.length === 2)
  client.send(openAt("/new"))
  await until("the request", () => b.received.length === 1)
  b.link.send(opened(0n))
  await until("the other folder", () => inbox.length === 3)
  client.send(openBelow(1n, "file"))
  await until("another judgement", () => judged.length === 4)
  expect(judged).toEqual(["/old", "/old/slow", "/new", "/new/file"])
})

test("a client that asks for ports without end is not read further than they can be taken", async () => {
  const grant = Promise.withResolvers<boolean>()
  const { client, locked, inbox } = await relayTo(fakeAgent("a"), { lock: () => grant.promise })
  const count = 100_000
  for (let i = 0; i < count; i++) client.send(i === 0 ? steal80 : unsubscribe80)
  client.send({ kind: "Ping" })
  await until("the first", () => locked.length === 1)
  await Bun.sleep(100)
  expect(inbox).toEqual([])
  grant.resolve(true)
  await until("all of them", () => inbox.length === 2)
})
