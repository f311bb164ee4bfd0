import { afterEach, expect, test } from "bun:test"
import type { TLSSocket } from "node:tls"
import { startAgent } from "../../../../agent/test-agent.ts"
import { type FakeKube, type FakeKubeOptions, startFakeKube, statusAnswer } from "../../../../test/fakes/kube-server.ts"
import { type FakeTunnels, type OnTunnel, startFakeTunnels, tunnelTo } from "../../../../test/fakes/tunnel-server.ts"
import { until } from "../../../../test/until.ts"
import { openKube } from "../../../kube/kube.ts"
import { createLogger } from "../../../log.ts"
import { type DaemonMessage, daemonMessage, Writer } from "../../../protocol/index.ts"
import { createConnector, type DirectConnection, type Transport } from "./connect.ts"

const pod = { namespace: "shop", name: "agent-0", port: 40_000 }
const undo: (() => unknown)[] = []
afterEach(async () => {
  for (const step of undo.splice(0).reverse()) await step()
})

function encoded(message: DaemonMessage): Uint8Array {
  const writer = new Writer()
  daemonMessage.encodeInto(writer, message)
  return Buffer.concat(writer.take())
}
/** An agent that agrees on a version (tag 10) and answers pings (tag 7); who answered shows in the version. */
const answer = (bytes: Uint8Array, version: string) =>
  bytes[0] === 10 ? encoded({ kind: "SwitchProtocolVersionResponse", value: version }) : encoded({ kind: "Pong" })
const byForward = "1.2.0"
const byTunnel = "1.3.0"

const accepted = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: podside-agent\r\n\r\n"
const knownPod = { type: "ADDED", object: { metadata: { name: "agent-0" }, status: { podIP: "10.0.0.1" } } }
const agentAfter = (greeting: string) => (socket: TLSSocket) => {
  socket.write(greeting)
  socket.on("data", (bytes: Buffer) => socket.write(answer(bytes, byTunnel)))
}
const agent = agentAfter(accepted)
const says = (text: string | Uint8Array) => (socket: TLSSocket) => void socket.write(text)
const refuses = (status: string) => says(`HTTP/1.1 ${status}\r\nContent-Length: 2\r\n\r\n{}`)

interface Cluster {
  kube: FakeKube
  tunnels: FakeTunnels
  said: string[]
  connector: ReturnType<typeof createConnector>
  giveUp: AbortController
}

async function cluster(
  onTunnel: OnTunnel,
  transport: Transport = "auto",
  more: FakeKubeOptions = {},
): Promise<Cluster> {
  const kube = startFakeKube({
    forward: (bytes) => answer(bytes, byForward),
    ...more,
    routes: { "GET /api/v1/namespaces/shop/pods": () => Response.json(knownPod), ...more.routes },
  })
  const tunnels = await startFakeTunnels(kube, onTunnel)
  undo.push(
    () => kube.stop(),
    () => tunnels.stop(),
  )
  const said: string[] = []
  const giveUp = new AbortController()
  const connector = createConnector({
    kube: openKube({ kubeconfig: tunnels.kubeconfig }),
    pod,
    peer: "agent",
    transport,
    log: createLogger({ level: "debug", write: (line) => said.push(line) }),
    signal: giveUp.signal,
  })
  return { kube, tunnels, said, connector, giveUp }
}

const forwards = ({ kube }: Pick<Cluster, "kube">) =>
  kube.requests.filter(({ path }) => path.endsWith("/portforward")).length

/** A session with podside's own agent, which ends as soon as nobody is connected. */
async function withAgent(more: FakeKubeOptions = {}) {
  const agent = await startAgent(["targetless"], { idleSeconds: 0 })
  undo.push(() => agent.stop())
  const at = await cluster(tunnelTo(agent.socketPath), "auto", { forwardTo: agent.socketPath, ...more })
  const connection = (await at.connector.connect())!
  return { ...at, agent, connection }
}

async function ping({ link }: DirectConnection): Promise<void> {
  const pong = new Promise((resolve) => link.receive(resolve))
  link.resume()
  link.send({ kind: "Ping" })
  expect(await pong).toEqual({ kind: "Pong" })
}

test("a session begins with a forward and goes on by pods/proxy; the forward is closed, and the agent lives on", async () => {
  const { connection, agent, tunnels, said, ...at } = await withAgent()
  expect(tunnels.heads).toEqual([])
  await ping(connection)
  await connection.settled
  expect(said).toEqual([expect.stringMatching(/ debug the session goes by pods\/proxy$/)])
  expect(forwards(at)).toBe(1)
  expect(tunnels.heads).toEqual([expect.stringContaining("GET /api/v1/namespaces/shop/pods/agent-0:40000/proxy/ ")])
  await until(() => tunnels.connections() === 1, "the forward's end")
  await Bun.sleep(50)
  await ping(connection)
  connection.link.close()
  await connection.link.ended
  expect(await agent.exited).toBe(0)
})

test("what goes both ways while the session moves arrives once and in order", async () => {
  const echo = Bun.listen({
    hostname: "127.0.0.1",
    port: 0,
    socket: { data: (socket, bytes) => void socket.write(bytes) },
  })
  undo.push(() => echo.stop(true))
  const { promise: told, resolve: tell } = Promise.withResolvers<void>()
  const watch = async () => {
    await told
    return Response.json(knownPod)
  }
  const { connection } = await withAgent({ routes: { "GET /api/v1/namespaces/shop/pods": watch } })
  const { link } = connection
  const connected = Promise.withResolvers<bigint>()
  const heard: Uint8Array[] = []
  link.receive((message) => {
    if (message.kind !== "TcpOutgoing") return
    const { kind, value } = message.value
    if (kind === "ConnectV2" && value.connect.kind === "Ok") connected.resolve(value.connect.value.connectionId)
    if (kind === "Read" && value.kind === "Ok") heard.push(value.value.bytes)
  })
  link.resume()
  const remoteAddress = { kind: "Ip", value: { ip: "127.0.0.1", port: echo.port } } as const
  const uid = crypto.randomUUID()
  link.send({ kind: "TcpOutgoing", value: { kind: "ConnectV2", value: { uid, remoteAddress } } })
  const connectionId = await connected.promise
  let moved = false
  void connection.settled!.then(() => (moved = true))
  let after = 0
  let sent = ""
  for (let count = 0; after < 200; count++) {
    if (count === 200) tell()
    if (moved) after++
    const text = `${count} `
    sent += text
    link.send({
      kind: "TcpOutgoing",
      value: { kind: "Write", value: { connectionId, bytes: Buffer.from(text) } },
    })
    if (count % 10 === 0) await Bun.sleep(1)
  }
  await until(() => Buffer.concat(heard).length >= sent.length)
  expect(Buffer.concat(heard).toString()).toBe(sent)
  link.close()
})

test("nobody asks for a tunnel before the pod has an address", async () => {
  const told = Promise.withResolvers<void>()
  const watch = () => {
    const body = new ReadableStream({
      async start(controller) {
        controller.enqueue(
          Buffer.from(`${JSON.stringify({ type: "ADDED", object: { metadata: knownPod.object.metadata } })}\n`),
        )
        await told.promise
        controller.enqueue(Buffer.from(`${JSON.stringify(knownPod)}\n`))
      },
    })
    return new Response(body)
  }
  const { connection, tunnels } = await withAgent({ routes: { "GET /api/v1/namespaces/shop/pods": watch } })
  await ping(connection)
  await Bun.sleep(100)
  expect(tunnels.heads).toEqual([])
  told.resolve()
  await connection.settled
  expect(tunnels.heads).toHaveLength(1)
  connection.link.close()
})

test.each<[sentence: string, onTunnel: OnTunnel]>([
  ["the user may not", refuses("403 Forbidden")],
  ["there is no such thing", refuses("404 Not Found")],
  ["a proxy forbids the method", refuses("405 Method Not Allowed")],
  ["the API server cannot reach the pod", refuses("503 Service Unavailable")],
  ["mirrord's agent sends no HTTP", refuses("500 Internal Server Error")],
  ["a proxy takes no notice of the upgrade", refuses("200 OK")],
  ["a proxy speaks something else", agentAfter("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n")],
  ["the answer is no HTTP", says("\x16\x03\x01 no such thing\r\n\r\n")],
  ["the connection is cut at once", (socket) => void socket.destroy()],
  ["the connection is cut behind the answer", (socket) => void socket.end(accepted)],
  ["garbage follows the answer", says(Buffer.concat([Buffer.from(accepted), Buffer.alloc(64, 0xff)]))],
])("the session stays with the forward when %s, and nothing is said to the user", async (_, onTunnel) => {
  const at = await cluster(onTunnel)
  const connection = (await at.connector.connect())!
  expect(connection.protocolVersion).toBe(byForward)
  await connection.settled
  expect(at.tunnels.heads).toHaveLength(1)
  expect(at.said).toEqual([expect.stringContaining(" debug the session stays with port-forward error=")])
  await ping(connection)
  await until(() => at.tunnels.connections() === 1, "the tunnel's end")
  connection.link.abort()
})

test.each<[sentence: string, onTunnel: OnTunnel]>([
  ["nothing follows the answer", says(accepted)],
  ["nothing is answered at all", () => {}],
])("nobody waits for a tunnel where %s, and it ends with the session", async (_, onTunnel) => {
  const at = await cluster(onTunnel)
  const connection = (await at.connector.connect())!
  await until(() => at.tunnels.heads.length === 1)
  await ping(connection)
  connection.link.close()
  await connection.settled
  await until(() => at.tunnels.connections() === 0, "both ends")
  expect(at.said).toEqual([])
})

test("with port-forward alone nobody asks for a tunnel", async () => {
  const at = await cluster(agent, "port-forward")
  const connection = await at.connector.connect()
  expect(connection).toMatchObject({ protocolVersion: byForward })
  expect(connection?.settled).toBeUndefined()
  expect(at.tunnels.heads).toEqual([])
})

test("with the tunnel alone nobody needs the right to forward ports", async () => {
  const forbidden = () => statusAnswer(403, "Forbidden", "no port-forward")
  const routes = { "GET /api/v1/namespaces/shop/pods/agent-0/portforward": forbidden }
  const at = await cluster(agent, "pod-proxy", { routes })
  expect((await at.connector.connect())?.protocolVersion).toBe(byTunnel)
  const other = await cluster(agent, "auto", { routes })
  await expect(other.connector.connect()).rejects.toMatchObject({ code: "kube-forbidden" })
})

test("with the tunnel alone a refusal is an error that says what to do", async () => {
  const at = await cluster(refuses("403 Forbidden"), "pod-proxy")
  await expect(at.connector.connect()).rejects.toMatchObject({
    code: "agent-proxy-failed",
    message: expect.stringContaining('cannot reach port 40000 of pod "agent-0" in shop by pods/proxy'),
    next: expect.stringContaining("agent.transport"),
  })
})

test("with the tunnel alone an agent that does not listen yet is asked again, and the reason is kept", async () => {
  let asked = 0
  const at = await cluster((socket) => (++asked > 1 ? agent : refuses("503 Service Unavailable"))(socket), "pod-proxy")
  expect(await at.connector.connect()).toBeUndefined()
  expect(at.connector.failure).toMatchObject({ code: "agent-proxy-failed" })
  expect((await at.connector.connect())?.protocolVersion).toBe(byTunnel)
})

test("whoever gives up while the only way is tried has no connection left", async () => {
  const at = await cluster(() => at.giveUp.abort(), "pod-proxy")
  expect(await at.connector.connect()).toBeUndefined()
  await until(() => at.tunnels.connections() === 0, "its end")
})
