import type { ClientMessage, DaemonMessage, StealType } from "../../core/protocol/index.ts"
import { startAgentProcess } from "../e2e/incoming/agent-process.ts"
import { makePod, type Pod, whyNoPods } from "../e2e/incoming/pod.ts"

/*
 * A client that stops reading while a caller sends 1 GB: how much the agent grows meanwhile, and whether everything arrives
 * once the client reads again; of a mirrored connection, whether it arrives at the application. SECONDS_STOPPED: 60 unless told otherwise.
 * `bun test/bench/stopped-client.ts`
 */

const secondsStopped = Number(process.env["SECONDS_STOPPED"] ?? 60)
const totalBytes = 1 << 30
const piece = Buffer.alloc(1 << 20, "0123456789abcdefghijklmnopqrstuvwxyz\n")
const mebibyte = 1 << 20

const steal = (value: StealType): ClientMessage => ({ kind: "TcpSteal", value: { kind: "PortSubscribe", value } })

interface Way {
  name: string
  port: number
  type(port: number): StealType
  /** What the caller sends before the gigabyte. */
  head: string
  /** Bytes of the gigabyte a message carries. */
  content(message: DaemonMessage): Uint8Array[]
}

const ways: Way[] = [
  {
    name: "whole connection",
    port: 9100,
    type: (value) => ({ kind: "All", value }),
    head: "",
    content: (message) =>
      message.kind === "TcpSteal" && message.value.kind === "Data" ? [message.value.value.bytes] : [],
  },
  {
    name: "body of a claimed request",
    port: 9101,
    type: (port) => ({ kind: "FilteredHttpEx", value: [port, { kind: "Path", value: "/" }] }),
    head: `POST / HTTP/1.1\r\nHost: a\r\nContent-Length: ${totalBytes}\r\n\r\n`,
    content(message) {
      if (message.kind !== "TcpSteal" || message.value.kind !== "HttpRequestChunked") return []
      const part = message.value.value
      const frames =
        part.kind === "StartV2" ? part.value.request.body.frames : part.kind === "Body" ? part.value.frames : []
      return frames.flatMap((frame) => (frame.kind === "Data" ? [frame.value] : []))
    },
  },
]

async function send(pod: Pod, port: number, head: string): Promise<void> {
  let left = totalBytes
  let rest: Uint8Array = Buffer.from(head)
  const push = (socket: { write(bytes: Uint8Array): number }) => {
    for (;;) {
      if (rest.length === 0) {
        if (left === 0) return
        rest = piece.subarray(0, Math.min(left, piece.length))
        left -= rest.length
      }
      const taken = Math.max(0, socket.write(rest))
      rest = rest.subarray(taken)
      if (rest.length > 0) return
    }
  }
  await pod.inCaller(() =>
    Bun.connect({ hostname: pod.ip4, port, socket: { open: push, drain: push, data() {}, error() {} } }),
  )
}

async function residentBytes(pid: number): Promise<number> {
  return 1024 * Number(/VmRSS:\s+(\d+)/.exec(await Bun.file(`/proc/${pid}/status`).text())![1])
}

function hashOfAll(): bigint {
  const hash = new Bun.CryptoHasher("sha256")
  for (let sent = 0; sent < totalBytes; sent += piece.length) hash.update(piece)
  return BigInt(`0x${hash.digest("hex")}`)
}

/** The most the agent has in memory while the client is stopped, in bytes. */
async function watchMemory(pid: number): Promise<number> {
  let most = 0
  for (let second = 0; second < secondsStopped; second++) {
    await Bun.sleep(1000)
    most = Math.max(most, await residentBytes(pid))
  }
  return most
}

const grown = (name: string, before: number, most: number) =>
  `${name.padEnd(28)} stopped ${secondsStopped} s: RSS ${(before / mebibyte).toFixed(0)} MiB + ${((most - before) / mebibyte).toFixed(0)} MiB (must: <= 64)`

async function measureMirrored(pod: Pod): Promise<void> {
  let received = 0
  let ended = 0
  const application = pod.inPod(() =>
    Bun.listen({
      hostname: "::",
      port: 0,
      socket: {
        data(_, bytes) {
          received += bytes.length
          ended = performance.now()
        },
      },
    }),
  )
  const agent = await startAgentProcess(pod.pid)
  const client = await agent.connect()
  await client.ask({ kind: "Tcp", value: { kind: "PortSubscribe", value: application.port } })
  const before = await residentBytes(agent.pid)
  client.link.pause()
  const started = performance.now()
  await send(pod, application.port, "")
  const most = await watchMemory(agent.pid)
  const rate = (received / (ended - started) / 1000).toFixed(0)
  console.log(
    `${grown("mirrored connection", before, most)}; the application got ${received === totalBytes ? "everything" : "PARTS"} at ${rate} MB/s`,
  )
  application.stop(true)
  client.link.close()
  await agent.stop()
}

async function measure(pod: Pod, { name, port, type, head, content }: Way): Promise<void> {
  const agent = await startAgentProcess(pod.pid)
  const client = await agent.connect()
  await client.ask(steal(type(port)))
  const before = await residentBytes(agent.pid)
  client.link.pause()
  await send(pod, port, head)
  const most = await watchMemory(agent.pid)
  const hash = new Bun.CryptoHasher("sha256")
  let received = 0
  const complete = Promise.withResolvers<void>()
  client.takeOver((message) => {
    for (const bytes of content(message)) {
      hash.update(bytes)
      received += bytes.length
    }
    if (received >= totalBytes) complete.resolve()
  })
  const started = performance.now()
  client.link.resume()
  await complete.promise
  const seconds = (performance.now() - started) / 1000
  const isWhole = BigInt(`0x${hash.digest("hex")}`) === hashOfAll()
  console.log(
    `${grown(name, before, most)}; ` +
      `then ${(totalBytes / seconds / 1e6).toFixed(0)} MB/s, ${isWhole ? "nothing lost" : "CONTENT DIFFERS"}`,
  )
  client.link.close()
  await agent.stop()
}

const reason = whyNoPods()
if (reason) throw new Error(`cannot measure here: ${reason}`)
const pod = await makePod()
try {
  for (const way of ways) await measure(pod, way)
  await measureMirrored(pod)
} finally {
  pod.close()
}
process.exit()
