import { readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { heapEnvironment } from "../../config/operator-heap.ts"
import { asWebSocketLike } from "../../core/client/session/operator/socket.ts"
import { openWebSocket } from "../../core/kube/websocket.ts"
import { askingSide, webSocketLink } from "../../core/link/index.ts"
import type { Link } from "../../core/link.ts"
import { type ClientMessage, type DaemonMessage, protocolVersion } from "../../core/protocol/index.ts"
import { bulkBytes, chunk, freePort, makeSetting, serveOperator, servePeer, start } from "./relay-processes.ts"

/*
 * What the operator's relay costs, without a cluster: a client, the operator's front door with relays behind it, an agent and
 * the server it dials are processes of their own on loopback. Only the API server is missing. `bun test/bench/operator-relay.ts`;
 * with a number behind it, the operator's memory with so many idle sessions.
 */

const roundTrips = Number(process.env["ROUND_TRIPS"] ?? 8000)
const streams = 16
const streamSeconds = Number(process.env["STREAM_SECONDS"] ?? 2)
const subprotocol = "v4.channel.k8s.io"

type ClientLink = Link<DaemonMessage, ClientMessage>
type Outgoing = Extract<DaemonMessage, { kind: "TcpOutgoing" }>["value"]

const [role, text] = process.argv.slice(2)
if (role === "operator") await serveOperator(JSON.parse(text!))
else if (role === "peer") servePeer(Number(text))
else await measure(role === undefined ? 0 : Number(role))

// ---- the client

class Client {
  readonly link: ClientLink
  onMessage: (message: DaemonMessage) => void = () => {}

  constructor(link: ClientLink) {
    this.link = link
    link.receive((message) => this.onMessage(message))
    void link.ended.then(({ error }) => error && console.error(error))
  }

  ask(message: ClientMessage): Promise<DaemonMessage> {
    return new Promise((resolve) => {
      this.onMessage = resolve
      this.link.send(message)
    })
  }

  async connectTo(port: number): Promise<bigint> {
    const remoteAddress = { kind: "Ip", value: { ip: "127.0.0.1", port } } as const
    const value = { kind: "ConnectV2", value: { uid: crypto.randomUUID(), remoteAddress } } as const
    const answer = (await this.ask({ kind: "TcpOutgoing", value })) as { value: Outgoing }
    if (answer.value.kind !== "ConnectV2" || answer.value.value.connect.kind !== "Ok") throw new Error("no connection")
    return answer.value.value.connect.value.connectionId
  }

  write(connectionId: bigint, bytes: Uint8Array): boolean {
    return this.link.send({ kind: "TcpOutgoing", value: { kind: "Write", value: { connectionId, bytes } } })
  }
}

/** Bytes an agent read from a connection. */
function received(message: DaemonMessage): { id: bigint; bytes: number } {
  if (message.kind !== "TcpOutgoing" || message.value.kind !== "Read" || message.value.value.kind !== "Ok")
    throw new Error(`not expected: ${message.kind}`)
  const { connectionId, bytes } = message.value.value.value
  return { id: connectionId, bytes: bytes.length }
}

async function measure(idleSessions: number): Promise<void> {
  const [port, agentPort, peerPort] = [await freePort(), await freePort(), await freePort()]
  const setting = makeSetting(port, agentPort)
  const own = [process.execPath, import.meta.path]
  const binary = process.env["PODSIDE"]
  const podside = binary ? [binary] : [process.execPath, join(import.meta.dir, "../../core/main.ts")]
  const words = ["--mode", "agent", "-l", String(agentPort), "process", "--pid", String(process.pid)]
  const peer = await start([...own, "peer", String(peerPort)])
  const agent = await start([...podside, ...words], { AGENT_OPERATOR_CERT_ENV: setting.agentIdentity.cert })
  const operator = await start([...own, "operator", JSON.stringify(setting)], heapEnvironment)
  const open = async () => {
    const access = {
      url: `https://localhost:${port}`,
      headers: { "x-remote-user": "bench" },
      tls: { ca: setting.authority, ...setting.frontProxy, rejectUnauthorized: true },
    }
    const options = { protocols: [subprotocol], timeoutMs: 5_000, what: "bench" }
    const client = new Client(webSocketLink(asWebSocketLike(await openWebSocket(access, "/", options)), askingSide))
    await client.ask({ kind: "SwitchProtocolVersion", value: protocolVersion })
    return client
  }
  try {
    if (idleSessions > 0) await measureMemory(operator.pid, open, idleSessions)
    else await measureTraffic({ agent: agent.pid, operator: operator.pid }, await open(), peerPort)
  } finally {
    for (const child of [peer, agent, operator]) child.kill("SIGKILL")
  }
  process.exit()
}

async function measureMemory(pid: number, open: () => Promise<Client>, sessions: number): Promise<void> {
  await open()
  const before = residentKb(pid)
  for (let i = 0; i < sessions; i++) await open()
  await Bun.sleep(6_000)
  const after = residentKb(pid)
  console.log(
    `memory: ${(before / 1024).toFixed(0)} MiB, with ${sessions} sessions ${(after / 1024).toFixed(0)} MiB: ${((after - before) / sessions).toFixed(0)} KiB each`,
  )
}

async function measureTraffic(pids: Record<string, number>, client: Client, peerPort: number): Promise<void> {
  const pinged = await serially(() => client.ask({ kind: "Ping" }))
  console.log(`round trip to the operator: ${pinged}`)
  const one = Buffer.from("e")
  const echo = await client.connectTo(peerPort)
  const before = cpu(pids)
  const echoed = await serially(() => {
    const done = new Promise<void>((resolve) => {
      client.onMessage = () => resolve()
    })
    client.write(echo, one)
    return done
  })
  console.log(`round trip through the agent: ${echoed}; processor time ${spent(pids, before, roundTrips)}`)
  await measureStreams(pids, client, peerPort)
  for (const way of ["download", "upload"] as const) {
    const used = cpu(pids)
    const began = performance.now()
    await (way === "download" ? download : upload)(client, peerPort)
    const speed = bulkBytes / 1e3 / (performance.now() - began)
    console.log(`${way}: ${speed.toFixed(0)} MB/s; processor time ${spent(pids, used, bulkBytes / 1e6)} for each MB`)
  }
}

async function measureStreams(pids: Record<string, number>, client: Client, peerPort: number): Promise<void> {
  const ids: bigint[] = []
  for (let i = 0; i < streams; i++) ids.push(await client.connectTo(peerPort))
  const body = Buffer.alloc(300, "e")
  let count = 0
  const before = cpu(pids)
  const began = performance.now()
  client.onMessage = (message) => {
    count++
    client.write(received(message).id, body)
  }
  for (const id of ids) client.write(id, body)
  await Bun.sleep(streamSeconds * 1000)
  client.onMessage = () => {}
  const perSecond = count / ((performance.now() - began) / 1000)
  console.log(
    `${streams} streams at once: ${perSecond.toFixed(0)} exchanges/s; processor time ${spent(pids, before, count)}`,
  )
  await Bun.sleep(200)
}

async function download(client: Client, peerPort: number): Promise<void> {
  const id = await client.connectTo(peerPort)
  let left = bulkBytes
  await new Promise<void>((resolve) => {
    client.onMessage = (message) => {
      left -= received(message).bytes
      if (left <= 0) resolve()
    }
    client.write(id, Buffer.from("d"))
  })
}

async function upload(client: Client, peerPort: number): Promise<void> {
  const id = await client.connectTo(peerPort)
  const answered = new Promise<void>((resolve) => {
    client.onMessage = () => resolve()
  })
  client.write(id, Buffer.alloc(1, "u"))
  for (let sent = 1; sent < bulkBytes; sent += chunk.length) {
    if (!client.write(id, chunk)) await client.link.whenWritable()
  }
  await answered
}

/** One after the other, in microseconds. */
async function serially(once: () => Promise<unknown>): Promise<string> {
  const times: number[] = []
  for (let i = 0; i < roundTrips; i++) {
    const start = performance.now()
    await once()
    times.push((performance.now() - start) * 1000)
  }
  times.sort((a, b) => a - b)
  const at = (share: number) => times[Math.floor(times.length * share)]!.toFixed(0)
  return `p50 ${at(0.5)} µs, p99 ${at(0.99)} µs`
}

/** User and system time of all threads so far, in microseconds. */
function cpu(pids: Record<string, number>): Record<string, number> {
  const spentBy = (task: string) => Number(readFileSync(`${task}/schedstat`, "utf8").split(" ")[0]) / 1000
  const of = (pid: number) =>
    readdirSync(`/proc/${pid}/task`).reduce((sum, task) => sum + spentBy(`/proc/${pid}/task/${task}`), 0)
  return Object.fromEntries(Object.entries(pids).map(([name, pid]) => [name, of(pid)]))
}

function spent(pids: Record<string, number>, before: Record<string, number>, times: number): string {
  const now = cpu(pids)
  return Object.keys(pids)
    .map((name) => `${name} ${((now[name]! - before[name]!) / times).toFixed(1)} µs`)
    .join(", ")
}

function residentKb(pid: number): number {
  return Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1])
}
