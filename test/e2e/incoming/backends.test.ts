import { afterEach, beforeEach, describe, expect, test } from "bun:test"
import { readFileSync } from "node:fs"
import { within } from "../../../agent/test-agent.ts"
import { type AgentProcess, startAgentProcess } from "./agent-process.ts"
import { call, exchange, startApplication, steal, stolen, subscribe, type TestApplication, unsubscribe } from "./kit.ts"
import { makePod, type Pod, whyNoPods } from "./pod.ts"

/* What must hold for every kind of rules alike, and between kinds. */

const backends = ["nf_tables", "nf_tables-unowned", "iptables-nft", "iptables-legacy"] as const
const reason =
  whyNoPods() ??
  (["iptables-nft", "iptables-legacy", "nft"].every((name) => Bun.which(name))
    ? undefined
    : "iptables or nft is missing")
if (reason) console.warn(`SKIPPED: kinds of rules end to end: ${reason}`)

let pod: Pod
let app: TestApplication
let agents: AgentProcess[]
let ephemeral: Bun.Subprocess | undefined

const suite = describe.skipIf(reason !== undefined)

suite("kinds of rules", () => {
  beforeEach(async () => {
    pod = await makePod()
    app = startApplication(pod, (text) => (text === "" ? "" : `app: ${text}`))
    agents = []
  }, 120_000)

  afterEach(async () => {
    for (const agent of agents) await agent.kill()
    ephemeral?.kill("SIGKILL")
    app?.stop()
    pod?.close()
  }, 120_000)

  async function agent(backend: string, env: Record<string, string> = {}, under: string[] = []): Promise<AgentProcess> {
    const started = await startAgentProcess(pod.pid, { PODSIDE_AGENT_RULES: backend, ...env }, under)
    agents.push(started)
    return started
  }

  /** Everything about connections that is in the pod's kernel. */
  function rules(): string {
    const programs = [
      ["nft", "list", "ruleset"],
      ["iptables-legacy", "-w", "-t", "nat", "-S"],
      ["ip6tables-legacy", "-w", "-t", "nat", "-S"],
    ]
    return programs
      .map((words) => pod.inPod(() => Bun.spawnSync(words)).stdout.toString())
      .join("")
      .replaceAll(/packets \d+ bytes \d+/g, "")
  }
  const names = () => rules().match(/podside_\w+/g) ?? []

  async function noRuleIsLeft(): Promise<void> {
    const poll = async () => {
      while (names().length > 0) await Bun.sleep(50)
    }
    await within("the end of the rules", poll(), 30_000)
  }

  test.each(backends)(
    "after kill -9 nothing of %s is left, and the application is reached",
    async (backend) => {
      const killed = await agent(backend)
      const client = await killed.connect()
      expect(await subscribe(client, steal({ kind: "All", value: app.port }))).toBe("Ok")
      expect(names()).not.toEqual([])
      await killed.kill()
      await noRuleIsLeft()
      expect(await exchange(pod, pod.ip4, app.port, "x")).toBe("app: x")
    },
    120_000,
  )

  test.each(
    backends.flatMap((first) => backends.filter((second) => second !== first).map((second) => [first, second])),
  )(
    "an agent with %s and one with %s see each other's ports",
    async (first, second) => {
      const holding = await (await agent(first!)).connect()
      expect(await subscribe(holding, steal({ kind: "All", value: app.port }))).toBe("Ok")
      const other = await (await agent(second!)).connect()
      other.send(steal({ kind: "All", value: app.port }))
      const line = await other.next()
      expect(line).toMatchObject({ kind: "LogMessage", value: { message: expect.stringContaining("podside_") } })
      expect(await stolen(other)).toMatchObject({ value: { kind: "Err", value: { kind: "PortAlreadyStolen" } } })
      expect(await subscribe(other, steal({ kind: "All", value: app.port + 1 }))).toBe("Ok")
      const caller = await call(pod, pod.ip4, app.port)
      expect((await stolen(holding)).kind).toBe("NewConnectionV2")
      caller.reset()
      await agents.pop()!.stop()
      const still = await call(pod, pod.ip4, app.port)
      expect((await stolen(holding)).kind).toBe("Close")
      expect((await stolen(holding)).kind).toBe("NewConnectionV2")
      still.reset()
      await agents.pop()!.stop()
      await noRuleIsLeft()
    },
    120_000,
  )

  test.each(
    backends.flatMap(
      (backend) =>
        [
          [backend, "goes on", {}],
          [backend, "is cut when that is wished", { MIRRORD_AGENT_STEALER_FLUSH_CONNECTIONS: "true" }],
          [
            backend,
            "is cut without connection tracking",
            {
              MIRRORD_AGENT_STEALER_FLUSH_CONNECTIONS: "true",
              MIRRORD_AGENT_STEALER_FLUSH_CONNECTIONS_CONNTRACK: "false",
            },
          ],
        ] as [string, string, Record<string, string>][],
    ),
  )(
    "%s: a connection from before %s",
    async (backend, _, env) => {
      const untracked = await call(pod, pod.ip4, app.port)
      untracked.send("1")
      await untracked.until("app: 1")
      const client = await (await agent(backend, env)).connect()
      expect(await subscribe(client, steal({ kind: "All", value: 1 }))).toBe("Ok")
      const tracked = await call(pod, pod.ip6, app.port)
      tracked.send("1")
      await tracked.until("app: 1")
      expect(await subscribe(client, steal({ kind: "All", value: app.port }))).toBe("Ok")
      for (const connection of [untracked, tracked]) {
        connection.send("2")
        if (Object.keys(env).length > 0) {
          await connection.ended
          expect(connection.error).toContain("reset")
        } else {
          await connection.until("app: 2")
          connection.reset()
        }
      }
      const next = await call(pod, pod.ip4, app.port)
      expect((await stolen(client)).kind).toBe("NewConnectionV2")
      next.reset()
    },
    120_000,
  )

  test("iptables works on a read-only root, where its lock cannot be made", async () => {
    const readOnly = ["unshare", "--mount", "sh", "-c", 'mount -t tmpfs -o ro tmpfs /run && exec "$@"', "sh"]
    const client = await (await agent("iptables-legacy", {}, readOnly)).connect()
    expect(await subscribe(client, steal({ kind: "All", value: app.port }))).toBe("Ok")
    const caller = await call(pod, pod.ip4, app.port)
    expect((await stolen(client)).kind).toBe("NewConnectionV2")
    caller.reset()
    await agents.pop()!.stop()
    await noRuleIsLeft()
  }, 120_000)

  test.each(["iptables-nft", "iptables-legacy"])(
    "%s: what comes in is left to a mesh whose rules are not seen, and what its proxy passes on is taken",
    async (backend) => {
      const client = await (await agent(backend, { MIRRORD_AGENT_ISTIO_CNI: "true" })).connect()
      expect(await subscribe(client, steal({ kind: "All", value: app.port }))).toBe("Ok")
      expect(await exchange(pod, pod.ip4, app.port, "x")).toBe("app: x")
      const within = await call(pod, "127.0.0.1", app.port, "inPod")
      expect((await stolen(client)).kind).toBe("NewConnectionV2")
      within.reset()
    },
    120_000,
  )

  test.each([
    ["where the caller wanted", "true", ""],
    ["on the loopback address", "false", "app: x"],
  ])(
    "the application is reached %s",
    async (_, fix, answer) => {
      const local = pod.inPod(() =>
        Bun.listen({
          hostname: "127.0.0.1",
          port: 0,
          socket: { data: (socket, bytes) => void socket.end(`app: ${bytes}`) },
        }),
      )
      const client = await (await agent("auto", { MIRRORD_AGENT_EXTERNAL_IP_FIX: fix })).connect()
      const value = [local.port, { kind: "Path", value: "/never" }] as [number, { kind: "Path"; value: string }]
      expect(await subscribe(client, steal({ kind: "FilteredHttpEx", value }))).toBe("Ok")
      expect(await exchange(pod, pod.ip4, local.port, "x")).toBe(answer)
      local.stop(true)
    },
    120_000,
  )

  test("a port nobody needs any more lingers as long as wished, and serves whoever comes back", async () => {
    const lingering = await agent("auto", { MIRRORD_AGENT_UNUSED_PORT_LINGER_SECS: "3600" })
    const client = await lingering.connect()
    expect(await subscribe(client, steal({ kind: "All", value: app.port }))).toBe("Ok")
    client.send(unsubscribe(app.port))
    await client.settle()
    expect(rules()).toContain(`${app.port} : `)
    expect(await exchange(pod, pod.ip4, app.port, "x")).toBe("app: x")
    expect(await subscribe(client, steal({ kind: "All", value: app.port }))).toBe("Ok")
    const caller = await call(pod, pod.ip4, app.port)
    expect((await stolen(client)).kind).toBe("NewConnectionV2")
    caller.reset()
    await agents.pop()!.stop()
    await noRuleIsLeft()
    const brief = await (await agent("auto", { MIRRORD_AGENT_UNUSED_PORT_LINGER_SECS: "1" })).connect()
    expect(await subscribe(brief, steal({ kind: "All", value: app.port }))).toBe("Ok")
    brief.send(unsubscribe(app.port))
    const poll = async () => {
      while (rules().includes(`${app.port} : `)) await Bun.sleep(50)
    }
    await within("the end of lingering", poll(), 30_000)
    expect(await exchange(pod, pod.ip4, app.port, "x")).toBe("app: x")
  }, 120_000)

  test.each(["auto", "iptables-nft", "iptables-legacy"])(
    "with %s an ephemeral agent's port is kept out of the mesh, as long as it lives",
    async (backend) => {
      const rule = "-p tcp -j REDIRECT --to-ports 15006"
      const mesh = `*nat\n-A PREROUTING ${rule}\nCOMMIT\n`
      pod.inPod(() =>
        Bun.spawnSync([`${backend === "auto" ? "iptables-nft" : backend}-restore`, "-w"], { stdin: Buffer.from(mesh) }),
      )
      const proxy = startApplication(pod, (text) => (text === "" ? "" : "proxy"), { port: 15006 })
      const probe = pod.inPod(() => Bun.listen({ hostname: "::", port: 0, socket: { data() {} } }))
      const { port } = probe
      probe.stop(true)
      const inside = [
        "nsenter",
        `--net=/proc/${pod.pid}/ns/net`,
        "unshare",
        "--pid",
        "--fork",
        "--mount-proc",
        "--kill-child",
      ]
      const start = (exclude: string) =>
        Bun.spawn(
          [...inside, process.execPath, "core/main.ts", "--mode", "agent", "-l", `${port}`, "-t", "600", "ephemeral"],
          {
            env: {
              ...process.env,
              PODSIDE_AGENT_RULES: backend,
              MIRRORD_AGENT_EXCLUDE_FROM_MESH: exclude,
              MIRRORD_AGENT_IN_SERVICE_MESH: "true",
            },
            stdio: ["ignore", "pipe", "inherit"],
          },
        )
      for (const exclude of ["false", "true"]) {
        const agent = start(exclude)
        ephemeral = agent
        await within("the ready line", agent.stdout.getReader().read(), 30_000)
        const caller = await call(pod, pod.ip4, port)
        // The protocol's ping: the agent answers it, the proxy takes it for text.
        caller.send(Uint8Array.of(7))
        const poll = async () => {
          while (caller.got === "") await Bun.sleep(10)
        }
        await within("an answer", poll())
        expect(caller.got.includes("proxy")).toBe(exclude === "false")
        caller.reset()
        // The agent is process 1 of its own namespace, and below `unshare` here.
        process.kill(Number(readFileSync(`/proc/${agent.pid}/task/${agent.pid}/children`, "utf8")), "SIGTERM")
        expect(await within("the exit", agent.exited, 30_000)).toBe(0)
        expect(names()).toEqual([])
      }
      proxy.stop()
    },
    120_000,
  )
})
