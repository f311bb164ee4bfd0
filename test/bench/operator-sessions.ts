/*
 * The operator with a thousand idle sessions, one process of the compiled binary against the tests' cluster:
 * `bun test/bench/operator-sessions.ts [SESSIONS]`. It is asked as the API server asks it, and its agent is a real one.
 */
import { readFileSync } from "node:fs"
import { createServer } from "node:net"
import { dirname, join } from "node:path"
import { WebSocket } from "ws"
import { heapEnvironment } from "../../config/operator-heap.ts"
import { askingSide, webSocketLink } from "../../core/link/index.ts"
import type { Link } from "../../core/link.ts"
import { newPrivateKey } from "../../core/operator/credentials/keys.ts"
import type { ClientMessage, DaemonMessage } from "../../core/protocol/index.ts"
import { podsideBinary } from "../binary.ts"
import { connect } from "../cluster/connection.ts"
import { podsideImage } from "../cluster/podside-image.ts"
import { must, run } from "../cluster/run.ts"
import { sampleImage, writeSampleImage } from "../cluster/samples/images.ts"
import { deployment } from "../cluster/samples/workloads.ts"
import { signingRequest } from "../e2e/operator/client.ts"

type ClientLink = Link<DaemonMessage, ClientMessage>

const total = Number(process.argv[2] ?? 1_000)
const activeSessions = 200
/** An agent serves 512 connections. */
const sessionsPerTarget = 250
const targets = Array.from({ length: Math.ceil(total / sessionsPerTarget) }, (_, i) => `web-${i}`)
const atOnce = 8
const startsMeasured = 20
const polls = 1_000
const pollEveryMs = 5
const settleMs = 5_000
/** After half a minute at rest the operator gives memory back. */
const restMs = 40_000
const endLimitMs = 30_000
const group = "/apis/operator.metalbear.co/v1"

const say = (line: string) => void process.stderr.write(`${line}\n`)
const cluster = await connect(say)
if (!cluster.own) throw new Error("this needs a cluster of the tests' own: it presents the API server's certificate")
const pki = (name: string) => readFileSync(join(dirname(cluster.kubeconfig), "pki", name))
const identity = { cert: pki("front-proxy.crt"), key: pki("front-proxy.key"), rejectUnauthorized: false }
const asAdmin = { "X-Remote-User": "admin", "X-Remote-Group": "system:masters" }
const namespace = `bench-${crypto.randomUUID().slice(0, 8)}`
const kubectl = (args: string[], input?: string) =>
  must(["kubectl", "-n", namespace, ...args], { env: { KUBECONFIG: cluster.kubeconfig }, input, timeoutSeconds: 120 })

await cluster.importImage((await podsideImage()).path)
await cluster.importImage(await writeSampleImage(sampleImage))
const object = { apiVersion: "v1", kind: "Namespace", metadata: { name: namespace } }
await kubectl(["create", "-f", "-"], JSON.stringify(object))
const port = await freePort()
const operator = Bun.spawn([await podsideBinary(), "--mode", "operator"], {
  env: {
    ...heapEnvironment,
    KUBECONFIG: cluster.kubeconfig,
    OPERATOR_ADDR: `127.0.0.1:${port}`,
    MIRRORD_OPERATOR_NAMESPACE: namespace,
    OPERATOR_ISOLATION_MARKER: namespace,
    OPERATOR_MANAGE_API_SERVICE: "false",
    // Hundreds of connections are more than an agent's usual limit has room for.
    OPERATOR_AGENT_CONFIG: JSON.stringify({ resources: { limits: { memory: "1Gi" } } }),
    OPERATOR_LOG_LEVEL: "error",
  },
  stdout: "inherit",
  stderr: "inherit",
})
try {
  await measure()
} catch (thrown) {
  console.error(thrown)
  process.exitCode = 1
} finally {
  operator.kill("SIGKILL")
  await operator.exited
  await run(["kubectl", "delete", "namespace", namespace, "--wait=false"], { env: { KUBECONFIG: cluster.kubeconfig } })
}
process.exit()

async function measure(): Promise<void> {
  for (const name of targets) await kubectl(["apply", "-f", "-"], JSON.stringify(deployment(name)))
  for (const name of targets) await kubectl(["rollout", "status", `deployment/${name}`, "--timeout=90s"])
  await until("the operator", async () => (await ask("/readyz")).ok)
  print("memory without a session", memory())
  const certificate = await credential()
  const links: ClientLink[] = await Promise.all(targets.map((name) => open(certificate, name)))
  const first = await starts(certificate)
  await openMany(links, certificate, activeSessions)
  const active = links.slice(0, activeSessions)
  const traffic = setInterval(() => {
    // Each of them asks its agent for something five times in a second.
    for (let i = 0; i < active.length / 20; i++) {
      active[Math.floor(Math.random() * active.length)]?.send({ kind: "Ping" })
    }
  }, 10)
  print(`discovery poll with ${activeSessions} active sessions`, spread(await pollDiscovery()))
  clearInterval(traffic)
  await openMany(links, certificate, total)
  await Bun.sleep(settleMs)
  print(`memory with ${links.length} idle sessions`, memory())
  const last = await starts(certificate)
  for (const [count, { took, cpuMs }] of [
    [targets.length, first],
    [total, last],
  ] as const) {
    print(`start of a session when there are ${count}`, `${spread(took)}; operator's CPU ${cpuMs.toFixed(1)} ms`)
  }
  const ratio = median(last.took) / median(first.took)
  console.log(`ratio of the medians: ${ratio.toFixed(2)}, of the CPU ${(last.cpuMs / first.cpuMs).toFixed(2)}`)
  await Bun.sleep(restMs)
  print(`memory with ${links.length} idle sessions, at rest`, memory())
  const rested = await starts(certificate)
  print("start of a session after that rest", `${spread(rested.took)}; operator's CPU ${rested.cpuMs.toFixed(1)} ms`)
  print(`its end with ${total} sessions, by SIGTERM`, await endInOrder())
  for (const link of links) link.abort()
}

async function endInOrder(): Promise<string> {
  const start = performance.now()
  operator.kill("SIGTERM")
  const code = await Promise.race([operator.exited, Bun.sleep(endLimitMs)])
  return code === undefined
    ? `not within ${endLimitMs} ms`
    : `${(performance.now() - start).toFixed(0)} ms, exit code ${code}`
}

async function openMany(links: ClientLink[], certificate: string, wanted: number): Promise<void> {
  const more = async () => {
    while (links.length < wanted) {
      const place = links.push(undefined as never) - 1
      links[place] = await open(certificate, targets[place % targets.length])
    }
  }
  await Promise.all(Array.from({ length: atOnce }, more))
}

interface Starts {
  /** Milliseconds from the request to the first answer of the agent's side. */
  took: number[]
  /** Of the operator for each, in milliseconds: what a busy machine does not change. */
  cpuMs: number
}

async function starts(certificate: string): Promise<Starts> {
  const took: number[] = []
  const before = cpuMs()
  for (let i = 0; i < startsMeasured; i++) {
    const start = performance.now()
    const link = await open(certificate)
    took.push(performance.now() - start)
    link.abort()
  }
  return { took, cpuMs: (cpuMs() - before) / startsMeasured }
}

function open(certificate: string, target = targets[0]): Promise<ClientLink> {
  const path = `${group}/proxy/namespaces/${namespace}/targets/deployment.${target}?connect=true&on_concurrent_steal=abort`
  const socket = new WebSocket(`wss://127.0.0.1:${port}${path}`, ["v4.channel.k8s.io"], {
    ...identity,
    perMessageDeflate: false,
    headers: {
      ...asAdmin,
      "x-mirrord-cli-version": "3.250.0",
      "x-session-id": String(crypto.getRandomValues(new BigUint64Array(1))[0]),
      "x-client-der": certificate,
    },
  })
  return new Promise((resolve, reject) => {
    socket.once("error", reject)
    socket.once("unexpected-response", async (_request, response) => {
      reject(new Error(`${response.statusCode}: ${await new Response(response as never).text()}`))
    })
    socket.once("open", () => {
      const link: ClientLink = webSocketLink(socket as WebSocket & { onmessage: null }, askingSide)
      link.receive((message) => {
        if (message.kind === "SwitchProtocolVersionResponse") resolve(link)
        if (message.kind === "Close") reject(new Error(message.value))
        if (message.kind === "OperatorPing") link.send({ kind: "OperatorPong", value: message.value })
      })
      void link.ended.then(({ error }) => reject(error ?? new Error("the operator ended a session")))
      link.send({ kind: "SwitchProtocolVersion", value: "1.29.0" })
    })
  })
}

async function pollDiscovery(): Promise<number[]> {
  const took: number[] = []
  for (let i = 0; i < polls; i++) {
    const start = performance.now()
    const answer = await ask(group, { headers: asAdmin })
    await answer.text()
    took.push(performance.now() - start)
    await Bun.sleep(pollEveryMs)
  }
  return took
}

async function credential(): Promise<string> {
  const body = {
    apiVersion: "operator.metalbear.co/v1",
    kind: "MirrordClusterOperatorUserCredential",
    metadata: { generateName: "mirrord-operator-regular-cred-" },
    spec: { csr: signingRequest(newPrivateKey("ed25519")), kind: "regular" },
  }
  const headers = { ...asAdmin, "content-type": "application/json" }
  const path = `${group}/mirrordclusteroperatorusercredentials`
  const answer = await ask(path, { method: "POST", headers, body: JSON.stringify(body) })
  const { status } = (await answer.json()) as { status: { certificate: string } }
  return status.certificate.replaceAll(/-----[^-]+-----|\s/g, "")
}

function ask(path: string, init: RequestInit = {}): Promise<Response> {
  const tls = { cert: String(identity.cert), key: String(identity.key), rejectUnauthorized: false }
  return fetch(`https://127.0.0.1:${port}${path}`, { ...init, tls })
}

/** The operator's, user and system, in milliseconds. The kernel counts in hundredths of a second. */
function cpuMs(): number {
  const fields = readFileSync(`/proc/${operator.pid}/stat`, "utf8").split(") ")[1]!.split(" ")
  return (Number(fields[11]) + Number(fields[12])) * 10
}

function memory(): string {
  const status = readFileSync(`/proc/${operator.pid}/status`, "utf8")
  const mebibytes = (name: string) =>
    (Number(new RegExp(`^${name}:\\s+(\\d+)`, "m").exec(status)?.[1]) / 1024).toFixed(0)
  return `RSS ${mebibytes("VmRSS")} MiB (own ${mebibytes("RssAnon")}, of files ${mebibytes("RssFile")})`
}

async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
  const address = server.address()
  await new Promise((resolve) => server.close(resolve))
  return typeof address === "object" && address ? address.port : 0
}

async function until(what: string, probe: () => Promise<boolean>): Promise<void> {
  const end = Date.now() + 30_000
  while (!(await probe().catch(() => false))) {
    if (Date.now() > end) throw new Error(`${what} did not come`)
    await Bun.sleep(50)
  }
}

function spread(values: readonly number[]): string {
  const sorted = [...values].sort((a, b) => a - b)
  const at = (share: number) => (sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0).toFixed(1)
  return `p50 ${at(0.5)} ms, p90 ${at(0.9)} ms, p99 ${at(0.99)} ms`
}

function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0
}

function print(what: string, value: string): void {
  console.log(`${what}: ${value}`)
}
