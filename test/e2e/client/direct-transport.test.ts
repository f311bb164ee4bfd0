import { beforeAll, describe, expect, test } from "bun:test"
import { rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { podsideBinary } from "../../binary.ts"
import { run } from "../../cluster/run.ts"
import { deployment, service } from "../../cluster/samples/workloads.ts"
import { type ClusterUser, useCluster } from "../../cluster/use.ts"

const cluster = useCluster("transport")
const limitMs = 240_000
/** A loss is told within this, in milliseconds; half a second for a busy machine. */
const lossMs = 5_500
const byProxy = "the session goes by pods/proxy"
const byForward = "the session stays with port-forward"

/** Sends 200 MB to an echo and says whether the same came back. */
const echo200 = `
const { connect } = require("node:net"), { createCipheriv, createHash } = require("node:crypto")
const total = 200_000_000, zeros = Buffer.alloc(1 << 16)
const noise = createCipheriv("aes-128-ctr", Buffer.alloc(16, 7), Buffer.alloc(16))
const sent = createHash("sha256"), got = createHash("sha256")
let left = total, back = 0
const socket = connect(7000, "web")
const push = () => {
  while (left > 0) {
    const chunk = noise.update(zeros.subarray(0, Math.min(left, zeros.length)))
    sent.update(chunk)
    left -= chunk.length
    if (!socket.write(chunk)) return socket.once("drain", push)
  }
  socket.end()
}
socket.on("connect", push)
socket.on("data", (bytes) => { got.update(bytes); back += bytes.length })
socket.on("end", () => console.log(back, got.digest("hex") === sent.digest("hex")))
socket.on("error", (error) => console.log(error.message))
`

describe.skipIf(!cluster.available)("how a session without an operator reaches its agent", () => {
  let binary = ""
  const users: Record<string, ClusterUser> = {}
  beforeAll(async () => {
    binary = await podsideBinary()
    await cluster.importPodsideImage()
    await cluster.apply([deployment("web", { environment: { GREETING: "from the pod" } }), service("web")])
    await cluster.ready("deployment/web")
    for (const [name, ways] of Object.entries(rights)) {
      users[name] = await cluster.user(name)
      await cluster.apply(permissions(name, ways))
    }
  }, limitMs)

  const command = (command: string, words: string[]) => [
    binary,
    command,
    "-n",
    cluster.namespace,
    "-a",
    cluster.namespace,
    "-t",
    "deployment/web",
    ...words,
  ]
  const environment = (user: string, transport?: string) => ({
    KUBECONFIG: users[user]!.kubeconfig,
    MIRRORD_OPERATOR_ENABLE: "false",
    PODSIDE_DEBUG: "1",
    ...(transport === undefined ? {} : { PODSIDE_AGENT_TRANSPORT: transport }),
  })
  const exec = (user: string, program: string[], transport?: string) =>
    run(command("exec", ["--", ...program]), { env: environment(user, transport), timeoutSeconds: 180 })
  const start = (words: string[], user = "both", name = "exec") =>
    Bun.spawn(command(name, words), {
      env: { ...process.env, ...environment(user) },
      stdin: "ignore",
      stdout: "pipe",
      stderr: "pipe",
    })
  const noAgents = () => cluster.eventually("no agents", async () => (await cluster.get("jobs")).items.length === 0)

  test.each<[sentence: string, user: keyof typeof rights, transport: string | undefined, way: string]>([
    ["who may use pods/proxy does", "both", undefined, byProxy],
    ["who may not has a session all the same", "forward", undefined, byForward],
    ["who wants port-forward gets it, whatever he may", "both", "port-forward", ""],
    ["who wants pods/proxy alone needs no other right", "proxy", "pod-proxy", ""],
  ])(
    "%s",
    async (_, user, transport, way) => {
      // The API server learns the agent's address up to a second after its start.
      const script = "echo $GREETING; sleep 3; cat /etc/hostname"
      const { code, stdout, stderr } = await exec(user, ["sh", "-c", script], transport)
      const [{ metadata }] = (await cluster.get("pods", "-l", "app=web")).items
      expect(stdout).toBe(`from the pod\n${metadata.name}\n`)
      expect(stderr.split("\n").filter((line) => line.includes(" debug the session "))).toEqual(
        way === "" ? [] : [expect.stringContaining(way)],
      )
      expect(code).toBe(0)
      await noAgents()
    },
    limitMs,
  )

  test(
    "who wants pods/proxy alone and may not use it is told so, and nothing stays behind",
    async () => {
      const { code, stderr } = await exec("forward", ["true"], "pod-proxy")
      expect(stderr).toContain("[agent-proxy-failed]")
      expect(stderr).toContain('cannot get resource "pods/proxy"')
      expect(stderr).toContain("agent.transport")
      expect(code).toBe(1)
      await noAgents()
    },
    limitMs,
  )

  test(
    "doctor names the right that is worth having, and is content with it",
    async () => {
      const examine = async (user: string) => {
        const { stdout } = await run(command("doctor", ["--json"]), { env: environment(user), timeoutSeconds: 60 })
        return JSON.parse(stdout).find(({ name }: { name: string }) => name === "permissions")
      }
      expect(await examine("forward")).toMatchObject({
        state: "warning",
        detail: expect.stringContaining(`get pods/proxy in ${cluster.namespace}`),
      })
      expect(await examine("both")).toMatchObject({ state: "ok" })
    },
    limitMs,
  )

  test(
    "200 MB go both ways unchanged while the session moves to pods/proxy, and on it",
    async () => {
      const { stdout, stderr } = await exec("both", ["node", "-e", echo200])
      expect(stderr).toContain(byProxy)
      expect(stdout.trim()).toBe("200000000 true")
    },
    limitMs,
  )

  test(
    "dump goes the same way",
    async () => {
      const [{ status }] = (await cluster.get("pods", "-l", "app=web")).items
      const child = start(["--ports", "8080", "--progress", "lines"], "both", "dump")
      const heard = follow(child)
      try {
        await heard.until("Listening for traffic on port 8080")
        await heard.until(byProxy)
        await fetch(`http://${status.podIP}:8080/dumped`, { keepalive: false })
        await heard.until("/dumped")
      } finally {
        child.kill("SIGINT")
        await child.exited
      }
      await noAgents()
    },
    limitMs,
  )

  test(
    "an agent that is killed is missed within seconds on pods/proxy, too",
    async () => {
      const child = start(["--", "sh", "-c", "echo started; sleep 180"])
      const heard = follow(child)
      await heard.until("started")
      await heard.until(byProxy)
      await cluster.kubectl("delete", "pods", "-l", "app=mirrord", "--grace-period=0", "--force")
      const began = performance.now()
      expect(await child.exited).toBe(1)
      expect(performance.now() - began).toBeLessThan(lossMs)
      await heard.until("[agent-")
      expect(heard.all()).toMatch(/\[agent-(lost|closed)\]/)
      await noAgents()
    },
    limitMs,
  )

  test(
    "a setting in the file counts, and one that does not exist is refused",
    async () => {
      const file = join(tmpdir(), `podside-transport-${process.pid}.json`)
      const verify = async (transport: string) => {
        await Bun.write(file, JSON.stringify({ target: "deployment/web", agent: { transport } }))
        return run([binary, "verify-config", file], { timeoutSeconds: 30 })
      }
      expect(JSON.parse((await verify("pod-proxy")).stdout)).toMatchObject({ type: "Success" })
      expect(JSON.parse((await verify("carrier-pigeon")).stdout)).toMatchObject({ type: "Fail" })
      await rm(file)
    },
    limitMs,
  )
})

/** Everything a child says on both of its streams. */
function follow(child: { stdout: ReadableStream<Uint8Array>; stderr: ReadableStream<Uint8Array> }) {
  let all = ""
  let wake = () => {}
  let open = 2
  const read = async (stream: ReadableStream<Uint8Array>) => {
    for await (const chunk of stream) {
      all += new TextDecoder().decode(chunk)
      wake()
    }
    open--
    wake()
  }
  void read(child.stdout)
  void read(child.stderr)
  return {
    all: () => all,
    async until(text: string) {
      while (!all.includes(text)) {
        if (open === 0) throw new Error(`ended before it said "${text}": ${all}`)
        await new Promise<void>((resolve) => (wake = resolve))
      }
    },
  }
}

const rights = { both: ["portforward", "proxy"], forward: ["portforward"], proxy: ["proxy"] }

/** What a session needs, and the ways to its agent. */
const permissions = (user: string, ways: readonly string[]) => [
  {
    apiVersion: "rbac.authorization.k8s.io/v1",
    kind: "Role",
    metadata: { name: `podside-${user}` },
    rules: [
      { apiGroups: [""], resources: ["pods"], verbs: ["get", "list", "watch"] },
      { apiGroups: [""], resources: ways.map((way) => `pods/${way}`), verbs: ["create", "get"] },
      { apiGroups: [""], resources: ["events"], verbs: ["list", "watch"] },
      { apiGroups: ["apps"], resources: ["deployments"], verbs: ["get"] },
      { apiGroups: ["batch"], resources: ["jobs"], verbs: ["create", "delete"] },
    ],
  },
  {
    apiVersion: "rbac.authorization.k8s.io/v1",
    kind: "RoleBinding",
    metadata: { name: `podside-${user}` },
    roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "Role", name: `podside-${user}` },
    subjects: [{ apiGroup: "rbac.authorization.k8s.io", kind: "User", name: user }],
  },
]
