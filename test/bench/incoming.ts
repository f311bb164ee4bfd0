import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import type { Socket } from "bun"
import type { TestClient } from "../../agent/test-agent.ts"
import {
  type ClientMessage,
  clientMessage,
  type DaemonMessage,
  protocolVersion,
  type StealType,
} from "../../core/protocol/index.ts"
import { startAgentProcess } from "../e2e/incoming/agent-process.ts"
import { makePod, type Pod, whyNoPods } from "../e2e/incoming/pod.ts"

/*
 * What a target pays for the agent's presence, as shares of the direct way in the same run: application, load and agent are
 * processes of their own, 16 keep-alive connections, all in network namespaces made for it. `bun test/bench/incoming.ts`
 */

const port = 8080
const relayPort = 8081
const sampleSource = join(import.meta.dir, "../cluster/programs/sample")
const connections = 16
const seconds = Number(process.env["SECONDS_PER_SLICE"] ?? 1)

interface Measured {
  perSecond: number
  p50Ms: number
}

/** The sample target of the test cluster where it can be built, a server of the runtime otherwise. */
async function startApplication(pod: Pod): Promise<{ kill(): void; name: string }> {
  const folder = mkdtempSync(join(tmpdir(), "podside-bench-"))
  const built =
    Bun.which("go") &&
    Bun.spawnSync(["go", "build", "-o", join(folder, "sample"), "."], { cwd: sampleSource }).exitCode === 0
  const command = built ? [join(folder, "sample"), "serve"] : [process.execPath, import.meta.path, "app"]
  const env = { ...process.env, HTTP_PORT: String(port) }
  const child = pod.inPod(() => Bun.spawn(command, { env, stdio: ["ignore", "ignore", "inherit"] }))
  while (!(await answers(pod))) await Bun.sleep(20)
  rmSync(folder, { recursive: true })
  return { kill: () => child.kill(), name: built ? "Go net/http, JSON" : "Bun.serve, 200 bytes" }
}

function answers(pod: Pod, at = port): Promise<boolean> {
  return pod
    .inCaller(() => Bun.connect({ hostname: pod.ip4, port: at, socket: { data() {} } }))
    .then((socket) => {
      socket.end()
      return true
    })
    .catch(() => false)
}

function serveApplication(): void {
  const body = "x".repeat(200)
  Bun.serve({ port, hostname: "::", fetch: () => new Response(body) })
}

/** The least that stands between a caller and the application: no rules, nothing looked at, nothing copied. */
function relay(): void {
  type End = { to: Socket<End>; early?: Buffer[] }
  const socket = {
    data: (from: Socket<End>, bytes: Buffer) => {
      if (from.data.early) from.data.early.push(bytes)
      else from.data.to.write(bytes)
    },
    close: (from: Socket<End>) => void from.data.to.end(),
  }
  Bun.listen<End>({
    hostname: "::",
    port: relayPort,
    socket: {
      ...socket,
      open(caller) {
        caller.data = { to: caller, early: [] }
        void Bun.connect<End>({
          hostname: "127.0.0.1",
          port,
          data: { to: caller },
          socket: {
            ...socket,
            open(application) {
              for (const bytes of caller.data.early ?? []) application.write(bytes)
              caller.data = { to: application }
            },
          },
        })
      },
    },
  })
}

async function makeLoad(host: string, at: number, header: string): Promise<void> {
  const request = Buffer.from(
    `GET /api/items?page=1 HTTP/1.1\r\nHost: ${host}:${at}\r\nUser-Agent: bench/1\r\nAccept: application/json\r\nAccept-Encoding: gzip\r\n${header}\r\n\r\n`,
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
      port: at,
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
  // Warms up what is measured.
  await Bun.sleep(300)
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

async function load(pod: Pod, header = "x-user: somebody", at = port): Promise<Measured> {
  const child = pod.inCaller(() =>
    Bun.spawn([process.execPath, import.meta.path, "load", pod.ip4, String(at), header], {
      stdio: ["ignore", "pipe", "inherit"],
    }),
  )
  return JSON.parse(await new Response(child.stdout).text())
}

/** How long a connection to `target` takes, p50 in microseconds. */
async function connectTime(pod: Pod, target: number, count = 4000): Promise<number> {
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

/** Slices of the direct way and of `row`'s taken in turn, so that what else the machine does falls on both. */
async function compareWithDirect(
  name: string,
  pod: Pod,
  header: string,
  want: string,
  row: Row,
  at = port,
): Promise<void> {
  const shares: number[] = []
  const latencies: number[] = []
  const rates: number[] = []
  for (let round = 0; round < rounds; round++) {
    const direct = await load(pod, header)
    const end = await row()
    const measured = await load(pod, header, at)
    await end()
    shares.push((100 * measured.perSecond) / direct.perSecond)
    latencies.push(measured.p50Ms)
    rates.push(measured.perSecond)
  }
  const [share, p50, rate] = [shares, latencies, rates].map(median) as [number, number, number]
  console.log(
    `${name.padEnd(32)} ${rate.toFixed(0).padStart(7)}/s ${share.toFixed(0).padStart(4)} % of direct, p50 ${p50.toFixed(2)} ms (${want})`,
  )
}

/** Sets up what is measured; the function it gives undoes that. */
type Row = () => Promise<() => Promise<unknown>>

const rounds = 5
const median = (values: number[]) => values.sort((a, b) => a - b)[values.length >> 1]!

async function compare(): Promise<void> {
  const reason = whyNoPods()
  if (reason) throw new Error(`cannot measure here: ${reason}`)
  const pod = await makePod()
  const app = await startApplication(pod)
  const agent = await startAgentProcess(pod.pid)
  console.log(`target: ${app.name}; ${connections} keep-alive connections; median of ${rounds} pairs of ${seconds} s`)
  const session = (subscribe: ClientMessage, behave: (client: TestClient) => void): Row => {
    return async () => {
      const client = await agent.connect()
      await client.ask(subscribe)
      behave(client)
      return async () => {
        client.link.close()
        await client.link.ended
        await Bun.sleep(50)
      }
    }
  }
  const filtered = steal({ kind: "FilteredHttpEx", value: [port, filter] })
  try {
    await compareWithDirect(
      "filter set, nobody claims",
      pod,
      "x-user: somebody",
      "must: >= 40 %, <= 1.5 ms",
      session(filtered, () => {}),
    )
    await compareWithDirect(
      "bare relay in between",
      pod,
      "x-user: somebody",
      "what a relay can reach at best",
      async () => {
        const child = pod.inPod(() =>
          Bun.spawn([process.execPath, import.meta.path, "relay"], { stdio: ["ignore", "inherit", "inherit"] }),
        )
        while (!(await answers(pod, relayPort))) await Bun.sleep(20)
        return async () => {
          child.kill()
          await child.exited
        }
      },
      relayPort,
    )
    await compareWithDirect("port mirrored", pod, "x-user: somebody", "must: >= 60 %", () =>
      mirrorElsewhere(agent.socketPath),
    )
    const relaying = await startAgentProcess(pod.pid, { PODSIDE_AGENT_COPY_MIRRORED: "false" })
    await compareWithDirect("port mirrored by relay", pod, "x-user: somebody", "where the kernel cannot copy", () =>
      mirrorElsewhere(relaying.socketPath),
    )
    await relaying.stop()
    await compareWithDirect(
      "filter set, claimed and echoed",
      pod,
      "x-user: me",
      "must: >= 20 %, <= 2 ms",
      session(filtered, echo),
    )
    await comparePorts(pod, await agent.connect())
  } finally {
    await agent.stop()
    app.kill()
    pod.close()
  }
}

/**
 * A mirroring client that costs this machine next to nothing, as one at a desk does: it takes the bytes and drops them. What it was not
 * given has cost nothing, so that is a failure.
 */
async function mirrorElsewhere(socketPath: string): Promise<() => Promise<void>> {
  const answered = Promise.withResolvers<void>()
  let answers = 2
  let isWhole = true
  const socket = await Bun.connect({
    unix: socketPath,
    socket: {
      data(_, bytes) {
        if (--answers <= 0) answered.resolve()
        if (bytes.includes("may be missing") || bytes.includes("was dropped")) isWhole = false
      },
    },
  })
  const send = (message: ClientMessage) => socket.write(clientMessage.encode(message))
  send({ kind: "SwitchProtocolVersion", value: protocolVersion })
  await Bun.sleep(50)
  send({ kind: "Tcp", value: { kind: "PortSubscribe", value: port } })
  send({ kind: "ReadyForLogs" })
  await answered.promise
  return async () => {
    socket.end()
    if (!isWhole) throw new Error("copies were lost")
    await Bun.sleep(50)
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
else if (process.argv[2] === "relay") relay()
else if (process.argv[2] === "load") await makeLoad(process.argv[3]!, Number(process.argv[4]), process.argv[5]!)
else await compare()
