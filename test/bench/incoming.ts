import type { TestClient } from "../../agent/test-agent.ts"
import type { ClientMessage, DaemonMessage, StealType } from "../../core/protocol/index.ts"
import { startAgentProcess } from "../e2e/incoming/agent-process.ts"
import { makePod, type Pod, whyNoPods } from "../e2e/incoming/pod.ts"

/*
 * What a target pays for the agent's presence, as shares of the direct way in the same run: application, load and agent are
 * processes of their own, 16 keep-alive connections, all in network namespaces made for it. `bun test/bench/incoming.ts`
 */

const port = 8081
const connections = 16
const seconds = Number(process.env["SECONDS_PER_ROW"] ?? 3)

interface Measured {
  perSecond: number
  p50Ms: number
}

function serveApplication(): void {
  const body = "x".repeat(200)
  Bun.serve({ port, hostname: "::", fetch: () => new Response(body) })
  process.stdout.write("up\n")
}

async function makeLoad(host: string, header: string): Promise<void> {
  const request = Buffer.from(
    `GET /api/items?page=1 HTTP/1.1\r\nHost: ${host}:${port}\r\nUser-Agent: bench/1\r\nAccept: application/json\r\nAccept-Encoding: gzip\r\n${header}\r\n\r\n`,
  )
  const latencies: number[] = []
  let running = true
  const finished = Array.from({ length: connections }, () => {
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    let sentAt = 0
    let left = 0
    const send = (socket: { write(bytes: Buffer): number }) => {
      sentAt = performance.now()
      socket.write(request)
    }
    void Bun.connect({
      hostname: host,
      port,
      socket: {
        open: send,
        data(socket, bytes) {
          if (left === 0) {
            const end = bytes.indexOf("\r\n\r\n")
            const head = bytes.toString("latin1", 0, end + 2)
            const length = /content-length: (\d+)\r\n/i.exec(head)?.[1]
            if (end === -1 || !length || !head.startsWith("HTTP/1.1 200"))
              return reject(new Error(`unexpected: ${head}`))
            left = end + 4 + Number(length)
          }
          left -= bytes.length
          if (left > 0) return
          latencies.push(performance.now() - sentAt)
          left = 0
          if (running) send(socket)
          else {
            socket.end()
            resolve()
          }
        },
        close: () => resolve(),
        error: (_, error) => reject(error),
      },
    })
    return promise
  })
  // The first second warms up what is measured.
  await Bun.sleep(1000)
  latencies.length = 0
  const started = performance.now()
  await Bun.sleep(seconds * 1000)
  running = false
  const count = latencies.length
  const elapsed = (performance.now() - started) / 1000
  await Promise.all(finished)
  latencies.sort((a, b) => a - b)
  const measured: Measured = { perSecond: count / elapsed, p50Ms: latencies[latencies.length >> 1] ?? Number.NaN }
  process.stdout.write(JSON.stringify(measured))
}

async function load(pod: Pod, header = "x-user: somebody"): Promise<Measured> {
  const child = pod.inCaller(() =>
    Bun.spawn([process.execPath, import.meta.path, "load", pod.ip4, header], { stdio: ["ignore", "pipe", "inherit"] }),
  )
  return JSON.parse(await new Response(child.stdout).text())
}

/** How long a connection to `target` takes, p50 in microseconds. */
async function connectTime(pod: Pod, target: number, count = 400): Promise<number> {
  const times: number[] = []
  for (let round = 0; round < count; round++) {
    const { promise, resolve } = Promise.withResolvers<void>()
    const started = performance.now()
    pod
      .inCaller(() =>
        Bun.connect({
          hostname: pod.ip4,
          port: target,
          socket: {
            open(socket) {
              times.push((performance.now() - started) * 1000)
              socket.terminate()
              resolve()
            },
            data() {},
          },
        }),
      )
      .catch(resolve)
    await promise
  }
  return times.sort((a, b) => a - b)[times.length >> 1]!
}

const steal = (value: StealType): ClientMessage => ({ kind: "TcpSteal", value: { kind: "PortSubscribe", value } })
const filter = { kind: "Header", value: "^x-user: me$" } as const

/** Answers every request it is given at once. */
function echo(client: TestClient): void {
  const headers = new Map([["content-type", ["text/plain"]]])
  const body = [{ kind: "Data" as const, value: Buffer.from("y".repeat(200)) }]
  client.link.receive((message: DaemonMessage) => {
    if (message.kind !== "TcpSteal" || message.value.kind !== "HttpRequestChunked") return
    const { connectionId } = message.value.value.value
    const internalResponse = { status: 200, version: "HTTP/1.1" as const, headers, body }
    client.send({
      kind: "TcpSteal",
      value: { kind: "HttpResponseFramed", value: { port, connectionId, requestId: 0, internalResponse } },
    })
  })
}

async function compare(): Promise<void> {
  const reason = whyNoPods()
  if (reason) throw new Error(`cannot measure here: ${reason}`)
  const pod = await makePod()
  const app = pod.inPod(() =>
    Bun.spawn([process.execPath, import.meta.path, "app"], { stdio: ["ignore", "pipe", "inherit"] }),
  )
  await app.stdout.getReader().read()
  const agent = await startAgentProcess(pod.pid)
  const client = await agent.connect()
  const row = (name: string, measured: Measured, direct: Measured, want: string) => {
    const share = ((100 * measured.perSecond) / direct.perSecond).toFixed(0)
    console.log(
      `${name.padEnd(34)} ${measured.perSecond.toFixed(0).padStart(7)}/s  ${share.padStart(3)} % of direct  p50 ${measured.p50Ms.toFixed(2)} ms   (must: ${want})`,
    )
  }
  try {
    const direct = await load(pod)
    row("direct", direct, direct, "-")
    await client.ask(steal({ kind: "FilteredHttpEx", value: [port, filter] }))
    row("filter set, nobody claims", await load(pod), direct, ">= 40 %, <= 1.5 ms")
    client.send({ kind: "TcpSteal", value: { kind: "PortUnsubscribe", value: port } })
    await client.ask({ kind: "Tcp", value: { kind: "PortSubscribe", value: port } })
    client.link.receive(() => {})
    row("port mirrored", await load(pod), direct, ">= 60 %")
    client.send({ kind: "Tcp", value: { kind: "PortUnsubscribe", value: port } })
    const second = await agent.connect()
    await second.ask(steal({ kind: "FilteredHttpEx", value: [port, filter] }))
    echo(second)
    row("filter set, claimed and echoed", await load(pod, "x-user: me"), direct, ">= 20 %, <= 2 ms")
    second.link.close()
    await comparePorts(pod, await agent.connect())
    row("direct, again", await load(pod), direct, "-")
  } finally {
    await agent.stop()
    app.kill()
    pod.close()
  }
}

async function comparePorts(pod: Pod, client: TestClient): Promise<void> {
  await client.ask(steal({ kind: "All", value: 9000 }))
  client.link.receive(() => {})
  const one = await connectTime(pod, 9000)
  const answers = Promise.withResolvers<void>()
  let left = 10_000
  client.link.receive((message) => {
    if (message.kind === "TcpSteal" && message.value.kind === "SubscribeResult" && --left === 0) answers.resolve()
  })
  const started = performance.now()
  for (let number = 20_000; number < 30_000; number++) client.send(steal({ kind: "All", value: number }))
  await answers.promise
  const added = performance.now() - started
  const many = await connectTime(pod, 9000)
  console.log(
    `10 000 ports: connect p50 ${many.toFixed(0)} us, ${(many / one).toFixed(2)} x of one port (must: <= 1.1), all added in ${added.toFixed(0)} ms (must: <= 200)`,
  )
}

if (process.argv[2] === "app") serveApplication()
else if (process.argv[2] === "load") await makeLoad(process.argv[3]!, process.argv[4]!)
else await compare()
