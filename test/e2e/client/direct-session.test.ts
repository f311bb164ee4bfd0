import { beforeAll, describe, expect, test } from "bun:test"
import { rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { podsideBinary } from "../../binary.ts"
import { run } from "../../cluster/run.ts"
import { deployment, pod, service, sidecar } from "../../cluster/samples/workloads.ts"
import { type ClusterUser, useCluster } from "../../cluster/use.ts"

const cluster = useCluster("direct")
const limitMs = 240_000

describe.skipIf(!cluster.available)("a session without an operator", () => {
  let binary = ""
  let user: ClusterUser
  beforeAll(async () => {
    binary = await podsideBinary()
    await cluster.importPodsideImage()
    await cluster.apply([deployment("web", { environment: { GREETING: "from the pod" } }), service("web")])
    await cluster.ready("deployment/web")
    user = await cluster.user("dev")
    await cluster.apply(permissions)
  }, limitMs)

  /** `podside exec` as the developer. */
  const command = (options: string[], program: string[]) => [
    binary,
    "exec",
    "-n",
    cluster.namespace,
    "-a",
    cluster.namespace,
    ...options,
    "--",
    ...program,
  ]
  const own = () => ({ KUBECONFIG: user.kubeconfig, MIRRORD_OPERATOR_ENABLE: "false" })
  const exec = (options: string[], program: string[], env: Record<string, string> = {}) =>
    run(command(options, program), { env: { ...own(), ...env }, timeoutSeconds: 180 })
  const start = (options: string[], program: string[]) =>
    Bun.spawn(command(options, program), {
      env: { ...process.env, ...own() },
      stdin: "ignore",
      stdout: "pipe",
      stderr: "pipe",
    })
  const noAgents = () => cluster.eventually("no agents", async () => (await cluster.get("jobs")).items.length === 0)

  test(
    "a program has the pod's environment, files, names and network, and nothing stays behind",
    async () => {
      const script = "echo $GREETING; cat /etc/hostname; curl -s http://web:8080/"
      const { code, stdout, stderr } = await exec(["-t", "deployment/web"], ["sh", "-c", script])
      const [{ metadata }] = (await cluster.get("pods", "-l", "app=web")).items
      expect(stderr).toContain("Ready! sh runs with the agent mirrord-agent-")
      expect(stdout).toContain(`from the pod\n${metadata.name}\n`)
      expect(stdout).toContain('"name":"web"')
      expect(code).toBe(0)
      await noAgents()
    },
    limitMs,
  )

  test(
    "a container that was started before the others and runs beside them can be the target",
    async () => {
      const beside = { ...sidecar("beside"), restartPolicy: "Always" }
      await cluster.apply(pod("sidecars", { pod: { initContainers: [beside] } }))
      await cluster.ready("pod/sidecars")
      const { code, stdout } = await exec(["-t", "pod/sidecars/container/beside"], ["sh", "-c", "echo $SAMPLE_NAME"])
      expect({ code, stdout }).toEqual({ code: 0, stdout: "beside\n" })
      await noAgents()
    },
    limitMs,
  )

  test(
    "requests with a header are stolen, the others left to the pod",
    async () => {
      const [{ status }] = (await cluster.get("pods", "-l", "app=web")).items
      const incoming = { mode: "steal", http_filter: { header_filter: "^x-user: me$" } }
      const file = join(tmpdir(), `podside-direct-${process.pid}.json`)
      await Bun.write(file, JSON.stringify({ feature: { network: { incoming } } }))
      const server = `require("http").createServer((q, r) => r.end("mine " + q.url)).listen(8080, () => console.log("listening"))`
      const child = start(["-t", "deployment/web", "-f", file], ["node", "-e", server])
      try {
        await said(child, "listening")
        const visit = async (name: string) => {
          const headers = { "x-user": name }
          return (await fetch(`http://${status.podIP}:8080/a`, { headers, keepalive: false })).text()
        }
        expect(await visit("me")).toBe("mine /a")
        expect(await visit("somebody")).toContain('"path":"/a"')
      } finally {
        child.kill("SIGTERM")
        await child.exited
        await rm(file)
      }
      await noAgents()
    },
    limitMs,
  )

  test(
    "port-forward reaches the pod's network, and gives the pod's port to a server of this machine",
    async () => {
      const [{ status }] = (await cluster.get("pods", "-l", "app=web")).items
      const server = Bun.serve({ hostname: "127.0.0.1", port: 0, fetch: () => new Response("of this machine") })
      const free = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data() {} } })
      free.stop(true)
      const place = ["-t", "deployment/web", "-n", cluster.namespace, "-a", cluster.namespace, "--progress", "lines"]
      const ports = ["-L", `${free.port}:web:8080`, "-R", `8080:${server.port}`]
      const child = Bun.spawn([binary, "port-forward", ...place, ...ports], {
        env: { ...process.env, ...own(), MIRRORD_AGENT_TCP_STEAL_TRAFFIC: "true" },
        stdin: "ignore",
        stdout: "pipe",
        stderr: "pipe",
      })
      const visit = async (url: string) => (await fetch(url, { keepalive: false })).text()
      try {
        await said(child, "Ready!")
        expect(await visit(`http://${status.podIP}:8080/`)).toBe("of this machine")
        // By the service the pod reaches itself, so the name and the connection are the target's, and the answer ours.
        expect(await visit(`http://127.0.0.1:${free.port}/`)).toBe("of this machine")
      } finally {
        child.kill("SIGINT")
        expect(await child.exited).toBe(0)
        await server.stop(true)
      }
      await cluster.eventually("the pod's own answers", async () =>
        (await visit(`http://${status.podIP}:8080/`)).includes('"name":"web"'),
      )
      await noAgents()
    },
    limitMs,
  )

  test.each<[fault: string, options: string[], code: string, words: string]>([
    ["a target that is not there", ["-t", "deployment/none"], "target-not-found", 'no Deployment "none"'],
    ["a container that is not there", ["-t", "deployment/web/container/none"], "container-not-found", "one of: web"],
    ["a kind only an operator serves", ["-t", "service/web"], "config-invalid", "needs the operator"],
    ["an image that is not there", ["-t", "deployment/web", "-i", "podside.test/none:1"], "agent-image", "none:1"],
    [
      "a place without permission",
      ["-t", "deployment/web", "-a", "default"],
      "kube-forbidden",
      "create jobs in default",
    ],
    ["a context that is not there", ["-t", "deployment/web", "--context", "none"], "kube-config", 'no context "none"'],
  ])(
    "%s is told with what to do, and nothing stays behind",
    async (_, options, code, words) => {
      const never = { MIRRORD_AGENT_IMAGE_PULL_POLICY: "Never" }
      const { code: exitCode, stderr } = await exec(options, ["true"], never)
      expect(stderr).toContain(`[${code}]`)
      expect(stderr).toContain(words)
      expect(stderr).not.toContain("    at ")
      expect(exitCode).toBe(1)
      await noAgents()
    },
    limitMs,
  )

  test(
    "a namespace that refuses privileged pods is named, with the way out",
    async () => {
      const label = "pod-security.kubernetes.io/enforce"
      await cluster.kubectl("label", "namespace", cluster.namespace, `${label}=baseline`)
      try {
        const { code, stderr } = await exec(["-t", "deployment/web"], ["true"])
        expect(stderr).toContain("[agent-pod-security]")
        expect(stderr).toContain("--agent-namespace")
        expect(code).toBe(1)
      } finally {
        await cluster.kubectl("label", "namespace", cluster.namespace, `${label}-`)
      }
      await noAgents()
    },
    limitMs,
  )

  test(
    "an agent whose pod is deleted is missed within seconds, and the program ends",
    async () => {
      const child = start(["-t", "deployment/web"], ["sh", "-c", "echo started; sleep 180"])
      await said(child, "started")
      await cluster.kubectl("delete", "pods", "-l", "app=mirrord", "--grace-period=0", "--force")
      expect(await child.exited).toBe(1)
      expect(await new Response(child.stderr).text()).toMatch(/\[agent-(lost|closed)\]/)
      await noAgents()
    },
    limitMs,
  )

  test(
    "giving up while the agent starts removes it",
    async () => {
      const child = start(["-t", "deployment/web"], ["true"])
      await cluster.eventually("an agent", async () => (await cluster.get("jobs")).items.length > 0)
      child.kill("SIGINT")
      expect(await child.exited).not.toBe(0)
      await noAgents()
    },
    limitMs,
  )
})

async function said(child: { stdout: ReadableStream<Uint8Array>; stderr: ReadableStream<Uint8Array> }, text: string) {
  const reader = child.stdout.getReader()
  let all = ""
  while (!all.includes(text)) {
    const { value, done } = await reader.read()
    if (done) throw new Error(`ended before it said "${text}": ${await new Response(child.stderr).text()}`)
    all += new TextDecoder().decode(value)
  }
}

/** What a session needs, with events and deletion for good messages and a quick end. */
const permissions = [
  {
    apiVersion: "rbac.authorization.k8s.io/v1",
    kind: "Role",
    metadata: { name: "podside-direct" },
    rules: [
      { apiGroups: [""], resources: ["pods"], verbs: ["get", "list", "watch"] },
      { apiGroups: [""], resources: ["pods/portforward"], verbs: ["create", "get"] },
      { apiGroups: [""], resources: ["events"], verbs: ["list", "watch"] },
      { apiGroups: ["apps"], resources: ["deployments"], verbs: ["get"] },
      { apiGroups: ["batch"], resources: ["jobs"], verbs: ["create", "delete"] },
    ],
  },
  {
    apiVersion: "rbac.authorization.k8s.io/v1",
    kind: "RoleBinding",
    metadata: { name: "podside-direct" },
    roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "Role", name: "podside-direct" },
    subjects: [{ apiGroup: "rbac.authorization.k8s.io", kind: "User", name: "dev" }],
  },
]
