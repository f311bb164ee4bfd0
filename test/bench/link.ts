/* A link against a bare Bun socket over loopback TCP, in one process and one run: `bun test/bench/link.ts`. */
import type { Socket } from "bun"
import { askingSide, connectLink, linkPair, listenLinks, servingSide } from "../../core/link/index.ts"
import type { Link } from "../../core/link.ts"
import type { ClientMessage, DaemonMessage } from "../../core/protocol/index.ts"

const payload = new Uint8Array(64 * 1024).fill(120)
const total = 1024 * 1024 * 1024
const message: DaemonMessage = { kind: "Tcp", value: { kind: "Data", value: { connectionId: 1n, bytes: payload } } }

async function bareSocket(): Promise<number> {
  const done = Promise.withResolvers<void>()
  let left = total
  const pump = (socket: Socket<undefined>) => {
    while (left > 0) {
      const taken = Math.max(0, socket.write(left < payload.length ? payload.subarray(0, left) : payload))
      left -= taken
      if (taken < payload.length) return
    }
  }
  const listener = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { open: pump, drain: pump, data() {} } })
  let got = 0
  const start = performance.now()
  const client = await Bun.connect({
    hostname: "127.0.0.1",
    port: listener.port,
    socket: { data: (_socket, chunk) => void ((got += chunk.length) === total && done.resolve()) },
  })
  await done.promise
  const seconds = (performance.now() - start) / 1000
  client.end()
  listener.stop(true)
  return total / seconds
}

async function tcpPair(): Promise<{
  client: Link<DaemonMessage, ClientMessage>
  agent: Link<ClientMessage, DaemonMessage>
  stop(): void
}> {
  const accepted = Promise.withResolvers<Link<ClientMessage, DaemonMessage>>()
  const listener = listenLinks(servingSide, { hostname: "127.0.0.1", port: 0 }, accepted.resolve)
  const { port } = listener as { port: number }
  const client = await connectLink(askingSide, { hostname: "127.0.0.1", port })
  return { client, agent: await accepted.promise, stop: () => listener.stop(true) }
}

async function overLink(pair: {
  client: Link<DaemonMessage, ClientMessage>
  agent: Link<ClientMessage, DaemonMessage>
}): Promise<number> {
  const { client, agent } = pair
  const done = Promise.withResolvers<void>()
  let got = 0
  const start = performance.now()
  client.receive(() => void ((got += payload.length) === total && done.resolve()))
  agent.receive(() => {})
  for (let sent = 0; sent < total; sent += payload.length) if (!agent.send(message)) await agent.whenWritable()
  await done.promise
  const seconds = (performance.now() - start) / 1000
  client.close()
  await agent.ended
  return total / seconds
}

/** Round trips of a ping, each waiting for the one before, in microseconds. */
async function roundTrip(pair: {
  client: Link<DaemonMessage, ClientMessage>
  agent: Link<ClientMessage, DaemonMessage>
}): Promise<number> {
  const { client, agent } = pair
  const count = 10_000
  agent.receive(() => void agent.send({ kind: "Pong" }))
  let pong = () => {}
  client.receive(() => pong())
  const start = performance.now()
  for (let i = 0; i < count; i++) {
    await new Promise<void>((resolve) => {
      pong = resolve
      client.send({ kind: "Ping" })
    })
  }
  const micros = ((performance.now() - start) / count) * 1000
  client.close()
  await agent.ended
  return micros
}

for (let round = 0; round < 3; round++) {
  const bare = await bareSocket()
  const tcp = await tcpPair()
  const link = await overLink(tcp)
  tcp.stop()
  const memory = await overLink(linkPair())
  const gigabytes = (perSecond: number) => `${(perSecond / 1e9).toFixed(2)} GB/s`
  console.log(
    `bare socket ${gigabytes(bare)}, link over TCP ${gigabytes(link)} = ${(link / bare).toFixed(2)}×, in memory ${gigabytes(memory)}`,
  )
}
const tcp = await tcpPair()
console.log(`round trip of a ping over TCP: ${(await roundTrip(tcp)).toFixed(0)} µs`)
tcp.stop()
