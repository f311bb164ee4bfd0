import { describe, expect, test } from "bun:test"
import { readFileSync } from "node:fs"
import { join } from "node:path"
import type { TestClient } from "../../../agent/test-agent.ts"
import type { ClientMessage } from "../../../core/protocol/index.ts"
import { callAsAmbientProxy, letAnswersReachTheProxy, startTransparentProxy } from "./ambient-proxy.ts"
import {
  answerWithPath,
  call,
  data,
  exchange,
  header,
  startApplication,
  steal,
  stealMatching,
  stolen,
  subscribe,
} from "./kit.ts"
import { type Pod, whyNoPods } from "./pod.ts"
import { type FreshPod, freshPods } from "./pods.ts"

/* Rules as meshes make them, with either kind of iptables, and the agent beside them with its own or with the same kind. */

const meshes = { istio: 15006, linkerd: 4143, kuma: 15006 } as const
const appPort = 30080
/** A port the rules of every mesh leave to the application. */
const skippedPort = 30081
const kinds = ["nft", "legacy"] as const
const combinations = kinds.flatMap((kind) => [
  [kind, "auto"] as const,
  [kind, "nf_tables-unowned"] as const,
  [kind, `iptables-${kind}`] as const,
])
const reason =
  whyNoPods() ??
  (kinds.every((kind) => Bun.which(`iptables-${kind}`)) ? undefined : "the iptables programs are missing")
if (reason) console.warn(`SKIPPED: rules of meshes end to end: ${reason}`)

describe.skipIf(reason !== undefined).each(combinations)("rules by iptables-%s, the agent's by %s", (kind, backend) => {
  let pod: Pod
  let apps: FreshPod["apps"]
  let agents: FreshPod["agents"]
  let application: FreshPod["application"]
  let agent: FreshPod["agent"]
  freshPods({ PODSIDE_AGENT_RULES: backend }, (made) => ({ pod, apps, agents, application, agent } = made))

  function run(program: string, args: string[], input = ""): string {
    const { stdout, stderr, exitCode } = pod.inPod(() =>
      Bun.spawnSync([program, ...args], { stdin: Buffer.from(input) }),
    )
    if (exitCode !== 0) throw new Error(`${program}: ${stderr}`)
    return stdout.toString()
  }

  const rules = () => run(`iptables-${kind}`, ["-w", "-t", "nat", "-S"])

  function restore(name: string): string {
    const text = readFileSync(join(import.meta.dir, "../../cases/mesh", `${name}.rules`), "utf8")
    run(`iptables-${kind}-restore`, ["-w"], text)
    return rules()
  }

  test.each(Object.keys(meshes) as (keyof typeof meshes)[])(
    "%s keeps its traffic, and its proxy's is taken",
    async (mesh) => {
      const before = restore(mesh)
      application(meshes[mesh], "proxy")
      application(appPort, "app")
      application(skippedPort, "app")
      const client = await (await agent()).connect()
      expect(await subscribe(client, steal({ kind: "All", value: appPort }))).toBe("Ok")
      expect(await exchange(pod, pod.ip4, appPort, "x")).toBe("proxy: x")
      const fromProxy = await call(pod, "127.0.0.1", appPort, "inPod")
      expect((await stolen(client)).kind).toBe("NewConnectionV2")
      fromProxy.reset()
      expect((await stolen(client)).kind).toBe("Close")
      expect(await exchange(pod, pod.ip4, skippedPort, "x")).toBe("app: x")
      expect(await subscribe(client, stealMatching(skippedPort, header("x-user: me")))).toBe("Ok")
      const skipped = await call(pod, pod.ip4, skippedPort)
      skipped.send("GET / HTTP/1.1\r\nHost: a\r\nX-User: me\r\n\r\n")
      let next = await stolen(client)
      while (next.kind !== "HttpRequestChunked") next = await stolen(client)
      skipped.reset()
      await agents.pop()!.stop()
      expect(rules()).toBe(before)
    },
    120_000,
  )

  test.each(["istio-ambient", "istio-ambient-tproxy"])(
    "%s keeps its traffic, and what its proxy brings in the callers' names is taken",
    async (dump) => {
      const before = restore(dump)
      letAnswersReachTheProxy(pod)
      const app = startApplication(pod, answerWithPath, { port: appPort })
      apps.push(app)
      if (dump === "istio-ambient") application(15006, "proxy")
      else apps.push(startTransparentProxy(pod, 15006))
      const client = await (await agent()).connect()
      expect(await subscribe(client, stealMatching(appPort, header("x-user: me")))).toBe("Ok")
      expect(await exchange(pod, pod.ip4, appPort, "x")).toBe("proxy: x")
      const brought = await callAsAmbientProxy(pod, "10.77.0.1", pod.ip4, appPort)
      brought.send("GET /nobody HTTP/1.1\r\nHost: a\r\n\r\n")
      await brought.until("app /nobody")
      expect(app.callers).toEqual([backend.startsWith("iptables") ? pod.ip4 : "10.77.0.1"])
      brought.reset()
      expect(await subscribe(client, steal({ kind: "All", value: appPort }))).toBe("Ok")
      const claimed = await callAsAmbientProxy(pod, "10.77.0.1", pod.ip4, appPort)
      const opened = await stolen(client)
      if (opened.kind !== "NewConnectionV2") throw new Error(opened.kind)
      const { connectionId, ...ends } = opened.value.connection
      expect(ends).toMatchObject({ remoteAddress: "10.77.0.1", localAddress: pod.ip4, destinationPort: appPort })
      client.send(data(connectionId, "hello"))
      await claimed.until("hello")
      claimed.reset()
      await agents.pop()!.stop()
      expect(rules()).toBe(before)
    },
    120_000,
  )

  const mirror = (port: number): ClientMessage => ({ kind: "Tcp", value: { kind: "PortSubscribe", value: port } })
  /** The next connection of a mirroring client, and its first bytes. */
  async function mirrored(client: TestClient) {
    const [opened, sent] = [await stolen(client, "Tcp"), await stolen(client, "Tcp")]
    if (opened.kind !== "NewConnectionV2" || sent.kind !== "Data") throw new Error(`${opened.kind}, ${sent.kind}`)
    return { ...opened.value.connection, text: Buffer.from(sent.value.bytes).toString() }
  }

  /** An empty piece may tell that the caller sends no more. */
  async function closed(client: TestClient): Promise<void> {
    const last = await stolen(client, "Tcp")
    if (last.kind === "Data" && last.value.bytes.length === 0) return closed(client)
    expect(last.kind).toBe("Close")
  }

  test.each(Object.keys(meshes) as (keyof typeof meshes)[])(
    "of a mirrored port %s's clients see what the proxy brings, and not what goes to the proxy",
    async (mesh) => {
      const before = restore(mesh)
      application(meshes[mesh], "proxy")
      application(appPort, "app")
      const client = await (await agent()).connect()
      expect(await subscribe(client, mirror(appPort))).toBe("Ok")
      expect(await exchange(pod, pod.ip4, appPort, "x")).toBe("proxy: x")
      const fromProxy = await call(pod, "127.0.0.1", appPort, "inPod")
      fromProxy.send("decrypted")
      await fromProxy.until("app: decrypted")
      expect(await mirrored(client)).toMatchObject({ destinationPort: appPort, text: "decrypted" })
      fromProxy.reset()
      await closed(client)
      expect(await client.settle()).toEqual([])
      await agents.pop()!.stop()
      expect(rules()).toBe(before)
    },
    120_000,
  )

  test.each(["istio-ambient", "istio-ambient-tproxy"])(
    "of a mirrored port %s's clients see what its proxy brings in the callers' names",
    async (dump) => {
      const before = restore(dump)
      letAnswersReachTheProxy(pod)
      application(appPort, "app")
      if (dump === "istio-ambient") application(15006, "proxy")
      else apps.push(startTransparentProxy(pod, 15006))
      const client = await (await agent()).connect()
      expect(await subscribe(client, mirror(appPort))).toBe("Ok")
      expect(await exchange(pod, pod.ip4, appPort, "x")).toBe("proxy: x")
      const brought = await callAsAmbientProxy(pod, "10.77.0.1", pod.ip4, appPort)
      brought.send("decrypted")
      await brought.until("app: decrypted")
      expect(await mirrored(client)).toMatchObject({
        remoteAddress: "10.77.0.1",
        localAddress: pod.ip4,
        destinationPort: appPort,
        text: "decrypted",
      })
      brought.reset()
      await closed(client)
      expect(await client.settle()).toEqual([])
      await agents.pop()!.stop()
      expect(rules()).toBe(before)
    },
    120_000,
  )
})
