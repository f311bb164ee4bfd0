import { afterAll, beforeAll, describe, expect, test } from "bun:test"
import { mkdtempSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { parse } from "yaml"
import { podsideBinary } from "../../binary.ts"
import { run } from "../../cluster/run.ts"
import { sampleImage } from "../../cluster/samples/images.ts"
import { deployment } from "../../cluster/samples/workloads.ts"
import { useCluster } from "../../cluster/use.ts"

const cluster = useCluster("faults")
const limitMs = 150_000

describe.skipIf(!cluster.available)("what can go wrong in a cluster", () => {
  const folder = mkdtempSync(join(tmpdir(), "podside-faults-"))
  let binary = ""
  beforeAll(async () => {
    binary = await podsideBinary()
    await cluster.importPodsideImage()
    await cluster.apply([deployment("web")])
    await cluster.ready("deployment/web")
  }, limitMs)
  afterAll(() => rmSync(folder, { recursive: true, force: true }))

  const environment = () => ({
    KUBECONFIG: cluster.kubeconfig,
    MIRRORD_OPERATOR_ENABLE: "false",
    MIRRORD_AGENT_IMAGE_PULL_POLICY: "Never",
  })
  const place = () => ["-n", cluster.namespace, "-a", cluster.namespace]
  const noAgents = () =>
    cluster.eventually("no agents", async () => (await cluster.get("jobs")).items.length === 0, { timeoutSeconds: 90 })

  test.each<[fault: string, target: string, agent: object, code: string, words: string]>([
    [
      "no node an agent may run on",
      "targetless",
      { node_selector: { "podside.test/none": "none" } },
      "agent-unschedulable",
      "affinity/selector",
    ],
    [
      "a node without room",
      "deployment/web",
      { resources: { requests: { cpu: "9999" }, limits: { cpu: "9999" } } },
      "agent-unschedulable",
      "Insufficient cpu",
    ],
    [
      "an image that is no agent",
      "deployment/web",
      { image: sampleImage.reference },
      "agent-failed",
      "ended before it was ready",
    ],
  ])(
    "%s is said, and nothing stays behind",
    async (_, target, agent, code, words) => {
      const file = join(folder, `${crypto.randomUUID()}.json`)
      await Bun.write(file, JSON.stringify({ target, agent }))
      const outcome = await run([binary, "exec", ...place(), "-f", file, "--", "true"], {
        env: environment(),
        timeoutSeconds: 100,
      })
      expect(outcome.stderr).toContain(`[${code}]`)
      expect(outcome.stderr).toContain(words)
      expect(outcome.code).toBe(1)
      await noAgents()
    },
    limitMs,
  )

  test(
    "a cluster that is gone is missed within seconds; its agent ends by itself",
    async () => {
      const { server, kubeconfig } = await throughRelay()
      const script = `exec node -e 'console.log("started"); setInterval(() => console.error("a second"), 1000)'`
      const words = ["exec", ...place(), "-t", "deployment/web", "--", "sh", "-c", script]
      const child = Bun.spawn([binary, ...words], {
        env: { ...process.env, ...environment(), KUBECONFIG: kubeconfig },
        stdin: "ignore",
        stdout: "pipe",
        stderr: "pipe",
      })
      try {
        const reader = child.stdout.getReader()
        for (let out = ""; !out.includes("started"); ) {
          const { value, done } = await reader.read()
          if (done) throw new Error(await new Response(child.stderr).text())
          out += Buffer.from(value).toString()
        }
        server.silence()
        let complaint = ""
        for await (const chunk of child.stderr) complaint += Buffer.from(chunk).toString()
        expect(await child.exited).toBe(1)
        expect(complaint).toContain("[agent-lost]")
        // The agent cannot be removed either: that is said and no failure of its own.
        expect(complaint).toContain("could not be removed")
        expect(complaint).not.toContain("[kube-timeout]")
        // The program counts seconds as this busy machine has them.
        const [before = ""] = complaint.split("Lost the agent")
        expect(before.split("a second").length - 1).toBeLessThanOrEqual(6)
      } finally {
        child.kill("SIGKILL")
        server.stop()
      }
      await noAgents()
    },
    limitMs,
  )

  /** A kubeconfig whose server is reached through a relay of ours, which can fall silent as a dead network does. */
  async function throughRelay() {
    const config = parse(readFileSync(cluster.kubeconfig, "utf8"))
    const access = config.clusters[0].cluster as Record<string, string>
    const { hostname, port } = new URL(access["server"]!)
    const server = await relay(hostname, Number(port || 443))
    access["server"] = `https://127.0.0.1:${server.port}`
    access["tls-server-name"] = hostname
    const kubeconfig = join(folder, "relayed")
    await Bun.write(kubeconfig, JSON.stringify(config))
    return { server, kubeconfig }
  }
})

interface Half {
  other?: Bun.Socket<Half>
  waiting: Uint8Array[]
}

async function relay(hostname: string, port: number) {
  let isSilent = false
  const ups = new Set<Bun.Socket<Half>>()
  const push = (half: Half | undefined, to: Bun.Socket<Half> | undefined, bytes?: Uint8Array) => {
    if (!half || isSilent) return
    if (bytes) half.waiting.push(Uint8Array.from(bytes))
    while (to && half.waiting.length > 0) {
      const first = half.waiting[0]!
      const count = Math.max(0, to.write(first))
      if (count < first.length) {
        half.waiting[0] = first.subarray(count)
        return
      }
      half.waiting.shift()
    }
  }
  const handlers = {
    data: (socket: Bun.Socket<Half>, bytes: Uint8Array) => push(socket.data, socket.data.other, bytes),
    drain: (socket: Bun.Socket<Half>) => push(socket.data.other?.data, socket),
    close: (socket: Bun.Socket<Half>) => {
      if (!isSilent) socket.data.other?.end()
    },
    error() {},
  }
  const listener = Bun.listen<Half>({
    hostname: "127.0.0.1",
    port: 0,
    data: { waiting: [] },
    socket: {
      ...handlers,
      open(socket) {
        socket.data = { waiting: [] }
        void Bun.connect<Half>({ hostname, port, data: { other: socket, waiting: [] }, socket: handlers }).then(
          (up) => {
            ups.add(up)
            socket.data.other = up
            push(socket.data, up)
          },
        )
      },
    },
  })
  return {
    port: listener.port,
    silence() {
      isSilent = true
    },
    /** As the cluster's end does it in time when nothing comes any more. */
    stop() {
      listener.stop(true)
      for (const up of ups) up.terminate()
    },
  }
}
