import { readFileSync } from "node:fs"
import { createServer } from "node:net"
import { dirname, join } from "node:path"
import { WebSocket } from "ws"
import { heapEnvironment } from "../../config/operator-heap.ts"
import { readLines } from "../../core/kube/lines.ts"
import { askingSide, webSocketLink } from "../../core/link/index.ts"
import type { Link } from "../../core/link.ts"
import { newPrivateKey } from "../../core/operator/credentials/keys.ts"
import type { ClientMessage, DaemonMessage } from "../../core/protocol/index.ts"
import { connect } from "../cluster/connection.ts"
import { podsideImage } from "../cluster/podside-image.ts"
import { must, run } from "../cluster/run.ts"
import { sampleImage, writeSampleImage } from "../cluster/samples/images.ts"
import { signingRequest } from "../e2e/operator/client.ts"

export type ClientLink = Link<DaemonMessage, ClientMessage>

export const group = "/apis/operator.metalbear.co/v1"
export const asAdmin = { "X-Remote-User": "admin", "X-Remote-Group": "system:masters" }

/** One operator in a namespace of its own of the tests' cluster, asked as the API server asks it. */
export type OperatorProcess = Awaited<ReturnType<typeof startOperatorProcess>>

/** @param command runs podside, without arguments; @param env beside what every operator of a benchmark has */
export async function startOperatorProcess(command: readonly string[], env: Record<string, string> = {}) {
  const cluster = await connect((line) => void process.stderr.write(`${line}\n`))
  if (!cluster.own) throw new Error("this needs a cluster of the tests' own: it presents the API server's certificate")
  const pki = (name: string) => readFileSync(join(dirname(cluster.kubeconfig), "pki", name))
  const identity = { cert: pki("front-proxy.crt"), key: pki("front-proxy.key"), rejectUnauthorized: false }
  const namespace = `bench-${crypto.randomUUID().slice(0, 8)}`
  const kubectl = (args: string[], input?: string) =>
    must(["kubectl", "-n", namespace, ...args], {
      env: { KUBECONFIG: cluster.kubeconfig },
      input,
      timeoutSeconds: 120,
    })

  await cluster.importImage((await podsideImage()).path)
  await cluster.importImage(await writeSampleImage(sampleImage))
  const object = { apiVersion: "v1", kind: "Namespace", metadata: { name: namespace } }
  await kubectl(["create", "-f", "-"], JSON.stringify(object))
  const port = await freePort()
  const child = Bun.spawn([...command, "--mode", "operator"], {
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
      ...env,
    },
    stdout: "inherit",
    stderr: "pipe",
  })
  void withoutAudit(child.stderr)

  const ask = (path: string, init: RequestInit = {}): Promise<Response> => {
    const tls = { cert: String(identity.cert), key: String(identity.key), rejectUnauthorized: false }
    return fetch(`https://127.0.0.1:${port}${path}`, { ...init, tls })
  }

  return {
    child,
    ask,
    kubectl,
    ready: () => until("the operator", async () => (await ask("/readyz")).ok),

    /** A user's certificate, as the header takes it. */
    async credential(): Promise<string> {
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
    },

    /** A session with a deployment; resolves with the first answer of the agent's side. */
    open(certificate: string, deployment: string): Promise<ClientLink> {
      const path = `${group}/proxy/namespaces/${namespace}/targets/deployment.${deployment}?connect=true&on_concurrent_steal=abort`
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
    },

    /** Milliseconds from the request to the first answer of the agent's side, of so many sessions one after the other. */
    async starts(certificate: string, deployment: string, count: number): Promise<number[]> {
      const took: number[] = []
      for (let i = 0; i < count; i++) {
        const start = performance.now()
        const link = await this.open(certificate, deployment)
        took.push(performance.now() - start)
        link.abort()
      }
      return took
    },

    memory(): string {
      const status = readFileSync(`/proc/${child.pid}/status`, "utf8")
      const mebibytes = (name: string) =>
        (Number(new RegExp(`^${name}:\\s+(\\d+)`, "m").exec(status)?.[1]) / 1024).toFixed(0)
      return `RSS ${mebibytes("VmRSS")} MiB (own ${mebibytes("RssAnon")}, of files ${mebibytes("RssFile")})`
    },

    async stop(): Promise<void> {
      child.kill("SIGKILL")
      await child.exited
      await run(["kubectl", "delete", "namespace", namespace, "--wait=false"], {
        env: { KUBECONFIG: cluster.kubeconfig },
      })
    },
  }
}

/** Measures, and ends the operator and this process; a failure is its exit code. */
export async function conclude(operator: OperatorProcess, measure: () => Promise<void>): Promise<never> {
  try {
    await measure()
  } catch (thrown) {
    console.error(thrown)
    process.exitCode = 1
  } finally {
    await operator.stop()
  }
  process.exit()
}

/** What goes wrong is to be seen; the audit is written whatever the level. */
async function withoutAudit(log: ReadableStream<Uint8Array>): Promise<void> {
  for await (const line of readLines(log)) {
    if (!line.includes('"message":"audit"')) process.stderr.write(`${line}\n`)
  }
}

/** Of milliseconds. */
export function spread(values: readonly number[]): string {
  const sorted = [...values].sort((a, b) => a - b)
  const at = (share: number) => (sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0).toFixed(1)
  return `p50 ${at(0.5)} ms, p90 ${at(0.9)} ms, p99 ${at(0.99)} ms`
}

export async function until(what: string, probe: () => Promise<boolean>): Promise<void> {
  const end = Date.now() + 30_000
  while (!(await probe().catch(() => false))) {
    if (Date.now() > end) throw new Error(`${what} did not come`)
    await Bun.sleep(50)
  }
}

async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
  const address = server.address()
  await new Promise((resolve) => server.close(resolve))
  return typeof address === "object" && address ? address.port : 0
}
