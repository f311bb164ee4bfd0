import { afterAll, beforeAll, describe, expect, test } from "bun:test"
import type { ClientMessage } from "../../../core/protocol/index.ts"
import { NfTables, newTable } from "../../../plugins/interception/agent/nf-tables.ts"
import { type AgentProcess, startAgentProcess } from "./agent-process.ts"
import {
  call,
  data,
  exchange,
  header,
  startApplication,
  steal,
  stealMatching,
  stolen,
  subscribe,
  type TestApplication,
  unsubscribe,
} from "./kit.ts"
import { makePod, type Pod, whyNoPods } from "./pod.ts"

const reason = whyNoPods()
if (reason) console.warn(`SKIPPED: rules of the kernel end to end: ${reason}`)

describe.skipIf(reason !== undefined)("the kernel's rules", () => {
  let pod: Pod
  let app: TestApplication
  const agents: AgentProcess[] = []

  beforeAll(async () => {
    pod = await makePod()
    app = startApplication(pod, (text) => (text === "" ? "" : `app: ${text}`))
  }, 120_000)

  afterAll(async () => {
    for (const agent of agents) await agent.kill()
    pod?.close()
  }, 120_000)

  async function agent(env: Record<string, string> = {}): Promise<AgentProcess> {
    const started = await startAgentProcess(pod.pid, env)
    agents.push(started)
    return started
  }

  function tables(): string[] {
    return pod.inPod(() => {
      const nfTables = new NfTables()
      try {
        return nfTables.tables()
      } finally {
        nfTables.close()
      }
    })
  }

  test("connections by IPv4, IPv6, loopback and the pod's own address are taken, with both ends known", async () => {
    const client = await (await agent()).connect()
    expect(await subscribe(client, steal({ kind: "All", value: app.port }))).toBe("Ok")
    const ways = [
      [pod.ip4, "inCaller", "10.77.0.1"],
      [pod.ip6, "inCaller", "fd77::1"],
      ["127.0.0.1", "inPod", "127.0.0.1"],
      ["::1", "inPod", "::1"],
      [pod.ip4, "inPod", pod.ip4],
      [pod.ip6, "inPod", pod.ip6],
    ] as const
    for (const [host, from, source] of ways) {
      const caller = await call(pod, host, app.port, from)
      const opened = await stolen(client)
      if (opened.kind !== "NewConnectionV2") throw new Error(opened.kind)
      const { connectionId, ...ends } = opened.value.connection
      expect(ends).toMatchObject({ remoteAddress: source, localAddress: host, destinationPort: app.port })
      client.send(data(connectionId, "hello"))
      await caller.until("hello")
      client.send({ kind: "TcpSteal", value: { kind: "ConnectionUnsubscribe", value: connectionId } })
      await caller.ended
      caller.reset()
    }
    client.send(unsubscribe(app.port))
    await client.settle()
    expect(await exchange(pod, pod.ip4, app.port, "direct")).toBe("app: direct")
    client.link.close()
    await agents.pop()!.stop()
    expect(tables()).toEqual([])
  })

  test("after kill -9 no rule is left and the application is reached at once", async () => {
    const killed = await agent()
    const client = await killed.connect()
    expect(await subscribe(client, steal({ kind: "All", value: app.port }))).toBe("Ok")
    expect(tables()).toHaveLength(1)
    const caught = await call(pod, pod.ip4, app.port)
    expect((await stolen(client)).kind).toBe("NewConnectionV2")
    await killed.kill()
    expect(tables()).toEqual([])
    expect(await exchange(pod, pod.ip4, app.port, "direct")).toBe("app: direct")
    await caught.ended
  })

  test("a table without owner whose agent is gone is removed, one whose agent lives is not", async () => {
    const living = pod.inPod(() => Bun.listen({ hostname: "0.0.0.0", port: 0, socket: { data() {} } }))
    const dead = pod.inPod(() => Bun.listen({ hostname: "0.0.0.0", port: 0, socket: { data() {} } }))
    const [kept, leftover] = [`podside_x_${living.port}`, `podside_x_${dead.port}`]
    dead.stop(true)
    pod.inPod(() => {
      const nfTables = new NfTables()
      nfTables.commit([newTable(kept, 0), newTable(leftover, 0)], "make tables")
      nfTables.close()
    })
    const client = await (await agent()).connect()
    expect(await subscribe(client, steal({ kind: "All", value: app.port }))).toBe("Ok")
    expect(tables()).toContain(kept)
    expect(tables()).not.toContain(leftover)
    await agents.pop()!.stop()
    living.stop(true)
    const next = await (await agent()).connect()
    expect(await subscribe(next, steal({ kind: "All", value: app.port }))).toBe("Ok")
    await agents.pop()!.stop()
    expect(tables()).toEqual([])
  })

  test("two agents hold different ports side by side; the same port is refused, and the end of one disturbs nothing", async () => {
    const other = startApplication(pod, (text) => (text === "" ? "" : `other: ${text}`))
    const [first, second] = [await (await agent()).connect(), await (await agent()).connect()]
    expect(await subscribe(first, steal({ kind: "All", value: app.port }))).toBe("Ok")
    second.send(steal({ kind: "All", value: app.port }))
    expect(await second.next()).toMatchObject({
      kind: "LogMessage",
      value: {
        level: { kind: "Error" },
        message: expect.stringContaining("already taken by the agent that made the nf_tables table"),
      },
    })
    expect(await stolen(second)).toMatchObject({
      value: { kind: "Err", value: { kind: "PortAlreadyStolen", value: app.port } },
    })
    expect(await subscribe(second, steal({ kind: "All", value: other.port }))).toBe("Ok")
    const caller = await call(pod, pod.ip4, other.port)
    expect((await stolen(second)).kind).toBe("NewConnectionV2")
    await agents.pop()!.kill()
    await caller.ended
    expect(await exchange(pod, pod.ip4, other.port, "x")).toBe("other: x")
    const still = await call(pod, pod.ip4, app.port)
    expect((await stolen(first)).kind).toBe("NewConnectionV2")
    still.reset()
    await agents.pop()!.stop()
    expect(tables()).toEqual([])
    other.stop()
  })

  const mirror = (port: number): ClientMessage => ({ kind: "Tcp", value: { kind: "PortSubscribe", value: port } })
  const theft = (port: number) => steal({ kind: "All", value: port })
  test.each([
    ["a mirrored port", "a mirror", mirror, mirror],
    ["a mirrored port", "a theft", mirror, theft],
    ["a stolen port", "a mirror", theft, mirror],
  ] as const)(
    "%s is no other agent's for %s: that is an answer, and its session goes on",
    async (_, __, first, second) => {
      const [holding, other] = [await (await agent()).connect(), await (await agent()).connect()]
      expect(await subscribe(holding, first(app.port))).toBe("Ok")
      expect(await subscribe(other, second(app.port))).toBe("PortAlreadyStolen")
      expect(await subscribe(other, second(1))).toBe("Ok")
      expect(await other.ask({ kind: "Ping" })).toEqual({ kind: "Pong" })
      const caller = await call(pod, pod.ip4, app.port)
      expect((await stolen(holding, first === mirror ? "Tcp" : "TcpSteal")).kind).toBe("NewConnectionV2")
      caller.reset()
      await agents.pop()!.stop()
      await agents.pop()!.stop()
    },
  )

  test("who connects to the agent's own listener gets nothing", async () => {
    const client = await (await agent()).connect()
    expect(await subscribe(client, steal({ kind: "All", value: app.port }))).toBe("Ok")
    const listener = Number(tables()[0]!.split("_").pop())
    // The reset may be there before the caller looks.
    const got = await call(pod, pod.ip4, listener).then(
      ({ ended }) => ended,
      () => "",
    )
    expect(got).toBe("")
    expect(await client.settle()).toEqual([])
    await agents.pop()!.stop()
  })

  test("thousands of ports are one step each for the kernel", async () => {
    const client = await (await agent()).connect()
    const numbers = Array.from({ length: 5000 }, (_, index) => 20_000 + index)
    client.send(...numbers.map((value) => steal({ kind: "All", value })))
    for (const number of numbers) {
      expect(await stolen(client)).toEqual({ kind: "SubscribeResult", value: { kind: "Ok", value: number } })
    }
    const [table] = tables()
    const held = pod.inPod(() => {
      const nfTables = new NfTables()
      const ports = nfTables.ports(table!, "ports")
      nfTables.close()
      return ports
    })
    expect(held.sort((a, b) => a - b)).toEqual(numbers)
    client.link.close()
    await client.link.ended
    await agents.pop()!.stop()
    expect(tables()).toEqual([])
  })

  test("without the capability the client is told what is missing, and others go on", async () => {
    const withoutNetAdmin = ["setpriv", "--bounding-set", "-net_admin", "--inh-caps", "-net_admin"]
    if (!Bun.which("setpriv")) return console.warn("SKIPPED: setpriv is missing")
    const poor = await startAgentProcess(pod.pid, {}, withoutNetAdmin)
    agents.push(poor)
    const [client, other] = [await poor.connect(), await poor.connect()]
    client.send(steal({ kind: "All", value: app.port }))
    expect(await client.closed()).toContain("NET_ADMIN")
    expect(await other.settle()).toEqual([])
    await agents.pop()!.stop()
  })

  test("an agent that is told to end lets running answers finish, and ends idle connections in good order", async () => {
    let isAsked = false
    const slow = startApplication(pod, (text) => {
      if (text.includes("/slow")) isAsked = true
      return text.includes("/quick") ? "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nquick" : ""
    })
    const client = await (await agent()).connect()
    expect(await subscribe(client, stealMatching(slow.port, header("x-user: me")))).toBe("Ok")
    const [idle, busy] = [await call(pod, pod.ip4, slow.port), await call(pod, pod.ip4, slow.port)]
    idle.send("GET /quick HTTP/1.1\r\nHost: a\r\n\r\n")
    await idle.until("quick")
    busy.send("GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
    while (!isAsked) await Bun.sleep(10)
    const stopping = agents.pop()!.stop()
    await idle.ended
    expect(idle.error).toBeUndefined()
    idle.reset()
    slow.say("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nslow")
    await busy.until("slow")
    busy.reset()
    await stopping
    expect(tables()).toEqual([])
    slow.stop()
  }, 120_000)
})
