import { describe, expect, test } from "bun:test"
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { within } from "../../../agent/test-agent.ts"
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
  unsubscribe,
} from "./kit.ts"
import { type Pod, whyNoPods } from "./pod.ts"
import { type FreshPod, freshPods } from "./pods.ts"

const kinds = ["nft", "legacy"] as const
type Kind = (typeof kinds)[number]
const appPort = 30080
const otherPort = 30081
const reason =
  whyNoPods() ??
  (kinds.every((kind) => Bun.which(`iptables-${kind}`)) ? undefined : "the iptables programs are missing")
if (reason) console.warn(`SKIPPED: iptables rules end to end: ${reason}`)

describe.skipIf(reason !== undefined).each(kinds)("iptables-%s", (kind: Kind) => {
  let pod: Pod
  let apps: FreshPod["apps"]
  let agents: FreshPod["agents"]
  let application: FreshPod["application"]
  let agent: FreshPod["agent"]
  freshPods({ PODSIDE_AGENT_RULES: `iptables-${kind}` }, (made) => ({ pod, apps, agents, application, agent } = made))

  function run(program: string, args: string[], input = ""): string {
    const { stdout, stderr, exitCode } = pod.inPod(() =>
      Bun.spawnSync([program, ...args], { stdin: Buffer.from(input) }),
    )
    if (exitCode !== 0) throw new Error(`${program}: ${stderr}`)
    return stdout.toString()
  }

  /** The nat rules of both families as the program prints them, without counters. */
  const rules = () =>
    ["iptables", "ip6tables"].map((name) => run(`${name}-${kind}`, ["-w", "-t", "nat", "-S"])).join("")

  function restore(name: string): string {
    const text = readFileSync(join(import.meta.dir, "../../cases/mesh", `${name}.rules`), "utf8")
    run(`iptables-${kind}-restore`, ["-w"], text)
    return rules()
  }

  async function rulesBecome(wanted: string): Promise<void> {
    const poll = async () => {
      while (rules() !== wanted) await Bun.sleep(50)
    }
    await within("the rules of before", poll(), 60_000).catch(() => expect(rules()).toBe(wanted))
  }

  test("every way to the application is taken, what nobody claims passes, and afterwards the rules are as before", async () => {
    const before = rules()
    apps.push(startApplication(pod, answerWithPath))
    const { port } = apps[0]!
    const client = await (await agent()).connect()
    expect(await subscribe(client, steal({ kind: "All", value: port }))).toBe("Ok")
    const ways = [
      [pod.ip4, "inCaller"],
      [pod.ip6, "inCaller"],
      ["127.0.0.1", "inPod"],
      ["::1", "inPod"],
      [pod.ip4, "inPod"],
      [pod.ip6, "inPod"],
    ] as const
    for (const [host, from] of ways) {
      const caller = await call(pod, host, port, from)
      const opened = await stolen(client)
      if (opened.kind !== "NewConnectionV2") throw new Error(opened.kind)
      const { connectionId, ...ends } = opened.value.connection
      expect(ends).toMatchObject({ localAddress: host, destinationPort: port })
      client.send(data(connectionId, "hello"))
      await caller.until("hello")
      caller.reset()
      expect((await stolen(client)).kind).toBe("Close")
    }
    await agents.pop()!.stop()
    expect(rules()).toBe(before)
    const other = await (await agent()).connect()
    expect(await subscribe(other, stealMatching(port, header("x-user: me")))).toBe("Ok")
    const caller = await call(pod, pod.ip4, port)
    caller.send("GET /mine HTTP/1.1\r\nHost: a\r\n\r\n")
    await caller.until("app /mine")
    caller.reset()
    await agents.pop()!.stop()
    expect(rules()).toBe(before)
  }, 120_000)

  test("after kill -9 the rules are as before, and the application is reached", async () => {
    const before = rules()
    application(appPort, "app")
    const killed = await agent()
    const client = await killed.connect()
    expect(await subscribe(client, steal({ kind: "All", value: appPort }))).toBe("Ok")
    expect(rules()).not.toBe(before)
    await killed.kill()
    await rulesBecome(before)
    expect(await exchange(pod, pod.ip4, appPort, "direct")).toBe("app: direct")
  }, 120_000)

  test("two agents hold different ports; the same is refused by name; another's chains stay, leftovers of the dead go", async () => {
    const foreign = ["-N MRDIN_0123456789abcdef0123", "-A PREROUTING -j MRDIN_0123456789abcdef0123"]
    run(`iptables-${kind}-restore`, ["-w", "--noflush"], ["*nat", ...foreign, "COMMIT", ""].join("\n"))
    const before = rules()
    const dead = pod.inPod(() => Bun.listen({ hostname: "0.0.0.0", port: 0, socket: { data() {} } }))
    const chain = `MRDIN_podside_${dead.port}`
    dead.stop(true)
    const left = ["*nat", `-N ${chain}`, `-A PREROUTING -p tcp -j ${chain}`, "COMMIT", ""].join("\n")
    run(`iptables-${kind}-restore`, ["-w", "--noflush"], left)
    application(appPort, "app")
    application(otherPort, "other")
    const [first, second] = [await (await agent()).connect(), await (await agent()).connect()]
    expect(await subscribe(first, steal({ kind: "All", value: appPort }))).toBe("Ok")
    expect(rules()).not.toContain(chain)
    second.send(steal({ kind: "All", value: appPort }))
    expect(await second.next()).toMatchObject({
      kind: "LogMessage",
      value: {
        message: expect.stringMatching(/already taken by the agent that made the iptables chain "MRDIN_podside_/),
      },
    })
    expect(await stolen(second)).toMatchObject({ value: { kind: "Err", value: { kind: "PortAlreadyStolen" } } })
    expect(await subscribe(second, steal({ kind: "All", value: otherPort }))).toBe("Ok")
    await agents.pop()!.stop()
    expect(await exchange(pod, pod.ip4, otherPort, "x")).toBe("other: x")
    const still = await call(pod, pod.ip4, appPort)
    expect((await stolen(first)).kind).toBe("NewConnectionV2")
    still.reset()
    await agents.pop()!.stop()
    expect(rules()).toBe(before)
  }, 120_000)

  test("what one family refuses is in neither; what somebody else has removed is gone, and the agent goes on", async () => {
    application(appPort, "app")
    application(otherPort, "other")
    const client = await (await agent()).connect()
    expect(await subscribe(client, steal({ kind: "All", value: appPort }))).toBe("Ok")
    const [chain] = /MRDIN_podside_\d+/.exec(rules())!
    const ofPort = (port: number) => rules().includes(`--dport ${port} `)
    run(`ip6tables-${kind}`, ["-w", "-t", "nat", "-F", chain])
    client.send(unsubscribe(appPort))
    // Changes are made in order: those of before are over with this one.
    expect(await subscribe(client, steal({ kind: "All", value: otherPort }))).toBe("Ok")
    expect(ofPort(appPort)).toBe(false)
    expect(await exchange(pod, pod.ip4, appPort, "x")).toBe("app: x")
    await agents.pop()!.stop()
    const last = await (await agent()).connect()
    expect(await subscribe(last, steal({ kind: "All", value: appPort }))).toBe("Ok")
    const names = rules()
      .match(/-N MRDIN_podside_\d+/g)!
      .map((rule) => rule.slice(3))
    for (const name of new Set(names)) {
      run(`ip6tables-${kind}`, [
        "-w",
        "-t",
        "nat",
        "-D",
        "PREROUTING",
        "-p",
        "tcp",
        "-m",
        "addrtype",
        "--dst-type",
        "LOCAL",
        "-j",
        name,
      ])
      run(`ip6tables-${kind}`, ["-w", "-t", "nat", "-F", name])
      run(`ip6tables-${kind}`, ["-w", "-t", "nat", "-X", name])
    }
    last.send(steal({ kind: "All", value: otherPort }))
    await last.closed()
    expect(ofPort(otherPort)).toBe(false)
    expect(await exchange(pod, pod.ip4, otherPort, "x")).toBe("other: x")
  }, 120_000)

  test("what kube-proxy would send elsewhere is taken before, and only while it is asked for", async () => {
    const before = restore("kube-proxy")
    application(appPort, "app")
    application(30090, "elsewhere")
    expect(await exchange(pod, pod.ip4, appPort, "x")).toBe("elsewhere: x")
    const client = await (await agent()).connect()
    expect(await subscribe(client, steal({ kind: "All", value: appPort }))).toBe("Ok")
    const caller = await call(pod, pod.ip4, appPort)
    expect((await stolen(client)).kind).toBe("NewConnectionV2")
    caller.reset()
    await agents.pop()!.stop()
    expect(rules()).toBe(before)
    expect(await exchange(pod, pod.ip4, appPort, "x")).toBe("elsewhere: x")
  }, 120_000)
})
