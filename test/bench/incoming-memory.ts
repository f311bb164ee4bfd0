import type { ClientMessage } from "../../core/protocol/index.ts"
import { startAgentProcess } from "../e2e/incoming/agent-process.ts"
import { makePod, type Pod, whyNoPods } from "../e2e/incoming/pod.ts"

/*
 * How much memory of its own an agent takes while many callers upload at full speed: application and callers are processes of their own.
 * `bun test/bench/incoming-memory.ts`; it prints no wish, because an agent's limit is whoever starts it's to choose.
 */

const port = 9000
const totalBytes = 1 << 30
const callers = [1, 16, 100, 1000]
const piece = Buffer.alloc(64 << 10, "x")
const sampleMs = 10

const mirror: ClientMessage = { kind: "Tcp", value: { kind: "PortSubscribe", value: port } }
const filter = { kind: "Header", value: "x-user: me" } as const
const steal: ClientMessage = {
  kind: "TcpSteal",
  value: { kind: "PortSubscribe", value: { kind: "FilteredHttpEx", value: [port, filter] } },
}
const ways: { name: string; subscription: ClientMessage; env: Record<string, string> }[] = [
  { name: "mirrored by copies", subscription: mirror, env: {} },
  { name: "mirrored by relay", subscription: mirror, env: { PODSIDE_AGENT_COPY_MIRRORED: "false" } },
  { name: "passed on by a filter", subscription: steal, env: {} },
]

/** Takes everything; says "!" at each caller's end. */
function serveApplication(): void {
  const socket = { data() {}, end: (caller: { end(text: string): void }) => caller.end("!") }
  Bun.listen({ hostname: "::", port, allowHalfOpen: true, socket: socket as never })
  console.log("ready")
}

async function upload(hostname: string, count: number): Promise<void> {
  const one = async () => {
    let left = Math.floor(totalBytes / count)
    const done = Promise.withResolvers<void>()
    const push = (socket: { write(bytes: Uint8Array): number; shutdown(): void }) => {
      while (left > 0) {
        const taken = socket.write(left < piece.length ? piece.subarray(0, left) : piece)
        if (taken <= 0) return
        left -= taken
      }
      socket.shutdown()
    }
    const close = () => done.resolve()
    await Bun.connect({
      hostname,
      port,
      allowHalfOpen: true,
      socket: { open: push, drain: push, data() {}, end: (socket) => void socket.end(), close },
    })
    await done.promise
  }
  await Promise.all(Array.from({ length: count }, one))
  process.exit()
}

const ownMemory = async (pid: number) =>
  Number(/RssAnon:\s+(\d+)/.exec(await Bun.file(`/proc/${pid}/status`).text())![1]) / 1024

async function measure(pod: Pod, way: (typeof ways)[number], count: number): Promise<void> {
  const agent = await startAgentProcess(pod.pid, way.env)
  const client = await agent.connect()
  await client.ask(way.subscription)
  client.takeOver(() => {})
  const before = await ownMemory(agent.pid)
  const command = [process.execPath, import.meta.path, "upload", pod.ip4, String(count)]
  const started = performance.now()
  const child = pod.inCaller(() => Bun.spawn(command, { stdio: ["ignore", "inherit", "inherit"] }))
  let isOver = false
  void child.exited.then(() => {
    isOver = true
  })
  let most = before
  while (!isOver) {
    most = Math.max(most, await ownMemory(agent.pid))
    await Bun.sleep(sampleMs)
  }
  const rate = totalBytes / (performance.now() - started) / 1000
  const memory = `${before.toFixed(0)} MiB at rest, ${most.toFixed(0)} at most`
  console.log(`${way.name.padEnd(22)} ${String(count).padStart(4)} callers: ${memory}, ${rate.toFixed(0)} MB/s`)
  client.link.close()
  await agent.stop()
}

const [role, ...words] = process.argv.slice(2)
if (role === "app") serveApplication()
else if (role === "upload") await upload(words[0]!, Number(words[1]))
else {
  const reason = whyNoPods()
  if (reason) throw new Error(`cannot measure here: ${reason}`)
  const pod = await makePod()
  const application = pod.inPod(() =>
    Bun.spawn([process.execPath, import.meta.path, "app"], { stdio: ["ignore", "pipe", "inherit"] }),
  )
  try {
    await application.stdout.getReader().read()
    for (const way of ways) for (const count of callers) await measure(pod, way, count)
  } finally {
    application.kill()
    pod.close()
  }
  process.exit()
}
