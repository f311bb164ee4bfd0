import { expect, test } from "bun:test"
import type { Link } from "../core/link.ts"
import { silentLogger } from "../core/log.ts"
import type { ClientMessage, DaemonMessage } from "../core/protocol/index.ts"
import { Clients, maxConnections } from "./clients.ts"
import type { AgentFeature } from "./feature.ts"
import { AgentMetrics } from "./metrics.ts"
import { startAgent } from "./test-agent.ts"

/** A connection without a carrier: what was sent on it, and a way to say something. */
function connection() {
  const { promise: ended, resolve } = Promise.withResolvers<object>()
  const sent: DaemonMessage[] = []
  let handler: (message: ClientMessage) => void = () => {}
  const link: Link<ClientMessage, DaemonMessage> = {
    send: (message) => sent.push(message) > 0,
    whenWritable: async () => {},
    receive: (given) => void (handler = given),
    pause() {},
    resume() {},
    close: () => resolve({}),
    abort: () => resolve({}),
    ended,
  }
  return { link, sent, ended, say: (message: ClientMessage) => handler(message), ping: () => handler({ kind: "Ping" }) }
}

function manyClients(count: number, speak: boolean, features: AgentFeature[] = []) {
  const nothing = () => {}
  const timing = {
    firstClientSeconds: 60,
    idleSeconds: 60,
    onNoClient: nothing,
    onFirstClient: nothing,
    onIdle: nothing,
  }
  const clients = new Clients({ features, metrics: new AgentMetrics(), log: silentLogger, ...timing })
  const connections = Array.from({ length: count }, connection)
  for (const { link, ping } of connections) {
    clients.add(link)
    if (speak) ping()
  }
  return { clients, connections }
}

test("one more client than fits is told so, and fits when another has gone", async () => {
  const { clients, connections } = manyClients(maxConnections, true)
  const late = connection()
  clients.add(late.link)
  expect(late.sent).toMatchObject([{ kind: "Close", value: expect.stringContaining(`${maxConnections} connections`) }])
  connections[7]!.link.close()
  await connections[7]!.ended
  await Bun.sleep(0)
  const next = connection()
  clients.add(next.link)
  next.ping()
  expect(next.sent).toEqual([{ kind: "Pong" }])
  await clients.endAll("over")
})

test("a feature serves a client from its first message for it, and lets go of it at the end", async () => {
  const told: string[] = []
  const feature: AgentFeature = {
    kinds: ["Tcp", "ShareLink"],
    serve() {
      told.push("served")
      return { handle: ({ kind }) => told.push(kind), close: () => told.push("closed") }
    },
  }
  const { clients, connections } = manyClients(2, true, [feature])
  expect(told).toEqual([])
  connections[0]!.say({ kind: "Tcp", value: { kind: "PortSubscribe", value: 80 } })
  connections[0]!.say({ kind: "ShareLink", value: { kind: "RegisterKey", value: "k" } })
  await clients.endAll("over")
  expect(told).toEqual(["served", "Tcp", "ShareLink", "closed"])
})

test("those who connect and say nothing keep nobody out", async () => {
  const { clients, connections } = manyClients(maxConnections, false)
  const late = connection()
  clients.add(late.link)
  late.ping()
  expect(late.sent).toEqual([{ kind: "Pong" }])
  await connections[0]!.ended
  await clients.endAll("over")
})

test("a thousand sessions share an agent, each with its own descriptors", async () => {
  const agent = await startAgent(["process", "--pid", `${process.pid}`])
  // All at once, as an operator does that starts again.
  const clients = await Promise.all(Array.from({ length: 1000 }, () => agent.connect()))
  const openOptions = { read: true, write: false, append: false, truncate: false, create: false, createNew: false }
  const answers = await Promise.all(
    clients.map((client) => client.file({ kind: "Open", value: { path: "/proc/self/cmdline", openOptions } })),
  )
  expect(
    new Set(answers.map((answer) => JSON.stringify(answer.value, (_, v) => (typeof v === "bigint" ? `${v}` : v)))).size,
  ).toBe(1)
  for (const client of clients) client.link.abort()
  await agent.stop()
}, 120_000)
