import { beforeAll, describe, expect, test } from "bun:test"
import { podsideBinary } from "../../binary.ts"
import { run } from "../../cluster/run.ts"
import { deployment } from "../../cluster/samples/workloads.ts"
import { useCluster } from "../../cluster/use.ts"
import { useOperator } from "../operator/install.ts"

const cluster = useCluster("reconnect")
const installed = useOperator(cluster, { operator: { replicas: 2 }, agent: { idleSeconds: 60 } })

describe.skipIf(!cluster.available)("a session whose operator goes away", () => {
  let binary = ""
  beforeAll(async () => {
    binary = await podsideBinary()
    await cluster.apply(deployment("web"))
    await cluster.ready("deployment/web")
  }, 120_000)

  const start = (script: string) => {
    // A lost connection is told even where progress is not.
    const options = ["-t", "deployment/web", "-n", cluster.namespace, "--progress", "off"]
    return Bun.spawn([binary, "exec", ...options, "--", "node", "-e", script], {
      env: { ...process.env, KUBECONFIG: cluster.kubeconfig, MIRRORD_OPERATOR_ENABLE: "true", ...steal },
      stdin: "ignore",
      stdout: "pipe",
      stderr: "pipe",
    })
  }
  const steal = { MIRRORD_AGENT_TCP_STEAL_TRAFFIC: "true" }

  test("is not needed to measure the way to the operator", async () => {
    const outcome = await run([binary, "diagnose", "latency", "--json"], {
      env: { KUBECONFIG: cluster.kubeconfig, MIRRORD_OPERATOR_ENABLE: "true" },
      timeoutSeconds: 60,
    })
    expect(outcome.stderr).toBe("")
    const answer = JSON.parse(outcome.stdout)
    expect(answer).toMatchObject({ peer: expect.stringMatching(/^operator /), pings: 100 })
    expect(answer.minMs).toBeGreaterThan(0)
    expect(answer.p99Ms).toBeGreaterThanOrEqual(answer.p50Ms)
    expect((await cluster.get("pods", "-n", installed.namespace, "-l", "app=mirrord")).items).toEqual([])
  }, 90_000)

  test("is not missed by a command that fails by itself", async () => {
    const taken = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data() {} } })
    try {
      const place = ["-t", "deployment/web", "-n", cluster.namespace, "--progress", "off"]
      const outcome = await run([binary, "port-forward", ...place, "-L", `${taken.port}:web:8080`], {
        env: { KUBECONFIG: cluster.kubeconfig, MIRRORD_OPERATOR_ENABLE: "true" },
        timeoutSeconds: 90,
      })
      expect(outcome.code).toBe(1)
      expect(outcome.stderr).toStartWith("podside: Cannot listen on 127.0.0.1:")
      expect(outcome.stderr).not.toContain("connecting again")
    } finally {
      taken.stop(true)
    }
  }, 120_000)

  test("comes back with its ports when every replica is replaced", async () => {
    const child = start(
      `require("http").createServer((q, r) => r.end("mine")).listen(8080, () => console.log("listening"))`,
    )
    try {
      const complaints = collect(child.stderr)
      const said = collect(child.stdout)
      await cluster.eventually("the program", async () => {
        if (child.exitCode !== null) throw new Error(complaints())
        return said().includes("listening")
      })
      const [{ status }] = (await cluster.get("pods", "-l", "app=web")).items
      const visit = async () => (await fetch(`http://${status.podIP}:8080/`, { keepalive: false })).text()
      expect(await visit()).toBe("mine")
      const label = "app.kubernetes.io/name=podside-operator"
      await cluster.kubectl("delete", "pods", "-l", label, "-n", installed.namespace, "--grace-period=0", "--force")
      await cluster.eventually("the loss to be said", async () => complaints().includes("connecting again"))
      await cluster.eventually("the session to be back", async () => complaints().includes("again; connections"), {
        timeoutSeconds: 120,
      })
      await cluster.eventually("its port", async () => (await visit().catch(() => "")) === "mine", {
        timeoutSeconds: 60,
      })
      expect(child.exitCode).toBeNull()
    } finally {
      child.kill("SIGTERM")
      await child.exited
    }
  }, 240_000)
})

function collect(stream: ReadableStream<Uint8Array>): () => string {
  let text = ""
  void (async () => {
    for await (const chunk of stream) text += new TextDecoder().decode(chunk)
  })()
  return () => text
}
