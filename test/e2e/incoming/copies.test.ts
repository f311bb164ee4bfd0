import { describe, expect, test } from "bun:test"
import { createHash } from "node:crypto"
import type { AgentProcess } from "./agent-process.ts"
import { startAgentProcess } from "./agent-process.ts"
import { call, data, exchange, header, startApplication, steal, stealMatching, subscribe, unsubscribe } from "./kit.ts"
import { bytesSeen, leave, mirror, portsIn, tablesIn, textOf, watch } from "./mirroring.ts"
import { type Pod, whyNoPods } from "./pod.ts"
import { type FreshPod, freshPods } from "./pods.ts"

/* What the kernel copies for the agent while a port is only mirrored. */

const reason = whyNoPods()
if (reason) console.warn(`SKIPPED: mirroring by copies: ${reason}`)

const nft = Bun.which("nft")
if (!nft) console.warn("SKIPPED: copies over a network that loses packets: the program nft is missing")

const hashOf = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex")

describe.skipIf(reason !== undefined)("a port that is only mirrored", () => {
  let pod: Pod
  let apps: FreshPod["apps"]
  let agents: FreshPod["agents"]
  let agent: FreshPod["agent"]
  freshPods({}, (made) => ({ pod, apps, agents, agent } = made))

  const agentWith = async (env: Record<string, string>): Promise<AgentProcess> => {
    const started = await startAgentProcess(pod.pid, env)
    agents.push(started)
    return started
  }
  const echo = (port?: number) => {
    const app = startApplication(pod, (text) => (text === "" ? "" : `app: ${text}`), port === undefined ? {} : { port })
    apps.push(app)
    return app.port
  }

  test.each([
    ["copied", {}, ["copied"]],
    ["diverted where that is wished", { PODSIDE_AGENT_COPY_MIRRORED: "false" }, ["ports"]],
    [
      "diverted where connections from before are to be cut",
      { MIRRORD_AGENT_STEALER_FLUSH_CONNECTIONS: "true" },
      ["ports"],
    ],
    ["copied by rules nobody owns", { PODSIDE_AGENT_RULES: "nf_tables-unowned" }, ["copied"]],
  ] as const)("is %s", async (_, env, sets) => {
    const port = echo()
    const client = await (await agentWith(env)).connect()
    expect(await subscribe(client, mirror(port))).toBe("Ok")
    expect((["copied", "ports"] as const).filter((set) => portsIn(pod, set).includes(port))).toEqual([...sets])
    const seen = watch(client)
    expect(await exchange(pod, pod.ip4, port, "hello")).toBe("app: hello")
    await seen.until("the end of the copy", () => seen.connections.get(0n)?.closed === true)
    expect(textOf(seen.connections.get(0n)!)).toBe("hello")
  })

  test("is diverted where the agent ends its TLS, its neighbour is copied", async () => {
    const [secured, plain] = [echo(), echo()]
    const authentication = { certPem: "/nowhere/tls.crt", keyPem: "/nowhere/tls.key" }
    const entries = [{ port: secured, agentAsServer: { authentication }, agentAsClient: {} }]
    const config = Buffer.from(JSON.stringify(entries)).toString("base64").replace(/=+$/, "")
    const client = await (await agentWith({ MIRRORD_AGENT_STEAL_TLS_CONFIG: config })).connect()
    for (const port of [secured, plain]) expect(await subscribe(client, mirror(port))).toBe("Ok")
    expect([portsIn(pod, "ports"), portsIn(pod, "copied")]).toEqual([[secured], [plain]])
  })

  test.each([
    ["10.77.0.2", "inCaller", "takes all packets"],
    ["fd77::2", "inCaller", "takes all packets"],
    ["127.0.0.1", "inPod", "takes all packets"],
    ["::1", "inPod", "takes all packets"],
    ["10.77.0.2", "inPod", "takes all packets"],
    ...(nft ? [["10.77.0.2", "inCaller", "loses packets"] as const] : []),
  ] as const)(
    "large bodies to %s, called %s, are copied byte by byte when the network %s",
    async (ip, from, network) => {
      const app = startApplication(pod, (text) => (text.endsWith("\n") ? "ok" : ""))
      apps.push(app)
      const client = await (await agent()).connect()
      expect(await subscribe(client, mirror(app.port))).toBe("Ok")
      const seen = watch(client)
      if (network === "loses packets") loseOneInTen(pod, app.port)
      const caller = await call(pod, ip, app.port, from)
      const sent: Buffer[] = []
      for (let count = 1; count <= 12; count++) {
        const body = Buffer.concat([...Array.from({ length: 16 }, randomWithoutNewline), Buffer.from("\n")])
        sent.push(body)
        caller.send(body)
        await caller.until("ok".repeat(count))
        await seen.until(`copy ${count}`, () => bytesSeen(seen) === count * body.length)
      }
      caller.end()
      await seen.until("the end of the copy", () => seen.connections.get(0n)?.closed === true)
      const copy = seen.connections.get(0n)!
      expect(hashOf(Buffer.concat(copy.text))).toBe(hashOf(Buffer.concat(sent)))
      expect(copy.ended).toBe(true)
      expect(seen.warnings).toEqual([])
    },
    120_000,
  )

  test("what an agent that does not keep up loses is told, and the application gets everything", async () => {
    const app = startApplication(pod, (_, isEnd) => (isEnd ? "done" : ""))
    apps.push(app)
    const slow = await agent()
    const client = await slow.connect()
    expect(await subscribe(client, mirror(app.port))).toBe("Ok")
    const seen = watch(client)
    const [flood, torn] = [await call(pod, pod.ip4, app.port), await call(pod, pod.ip4, app.port)]
    torn.send("begun ")
    await seen.until("the first bytes", () => bytesSeen(seen) === 6)
    const [id] = [...seen.connections].find(([, copy]) => textOf(copy) === "begun ")!
    process.kill(slow.pid, "SIGSTOP")
    flood.send(Buffer.alloc(48 << 20, "x"))
    flood.end()
    expect(await flood.ended).toBe("done")
    // What is small may still find room where a large packet did not.
    const unseenBytes = 1 << 20
    torn.send(Buffer.alloc(unseenBytes, "u"))
    await until(() => app.received.some(({ length }) => length === "begun ".length + unseenBytes))
    // The kernel gathers packets for a hundredth of a second before it finds no room for them.
    await Bun.sleep(200)
    process.kill(slow.pid, "SIGCONT")
    torn.send("seen")
    torn.end()
    expect(await exchange(pod, pod.ip4, app.port, "after")).toBe("done")
    await seen.until("a whole copy of the next connection", () =>
      [...seen.connections.values()].some((copy) => textOf(copy) === "after" && copy.closed),
    )
    await seen.until("the end of the torn copies", () => [...seen.connections.values()].every(({ closed }) => closed))
    expect(seen.warnings).toContain("mirrored connections may be missing: the agent could not keep up with the traffic")
    expect(seen.warnings).toContain("a mirrored connection was dropped: the agent could not keep up with the traffic")
    expect(seen.connections.get(id)).toMatchObject({ ended: false, closed: true })
    const part = textOf(seen.connections.get(id)!)
    expect(part).toMatch(/^begun u*$/)
    expect(part.length).toBeLessThan("begun ".length + unseenBytes)
    expect(app.received.map(({ length }) => length).sort((a, b) => a - b)).toEqual([
      "after".length,
      "begun seen".length + unseenBytes,
      48 << 20,
    ])
  }, 120_000)

  test("a killed agent takes no connection with it, and leaves no rule", async () => {
    const port = echo()
    const killed = await agent()
    const client = await killed.connect()
    expect(await subscribe(client, mirror(port))).toBe("Ok")
    const caller = await call(pod, pod.ip4, port)
    caller.send("before")
    await caller.until("app: before")
    await killed.kill()
    caller.send(" and after")
    await caller.until("app:  and after")
    expect(caller.error).toBeUndefined()
    expect(tablesIn(pod)).toEqual([])
    caller.reset()
  })

  test("connections go on being copied when a thief comes, and passing through when it goes", async () => {
    const port = echo()
    const served = await agent()
    const [client, thief] = [await served.connect(), await served.connect()]
    expect(await subscribe(client, mirror(port))).toBe("Ok")
    const seen = watch(client)
    const copied = await call(pod, pod.ip4, port)
    copied.send("one ")
    await copied.until("app: one")
    expect(await subscribe(thief, stealMatching(port, header("x-user: me")))).toBe("Ok")
    expect([portsIn(pod, "ports"), portsIn(pod, "copied"), portsIn(pod, "formerly_copied")]).toEqual([
      [port],
      [],
      [port],
    ])
    const relayed = await call(pod, pod.ip4, port)
    relayed.send("GET /a HTTP/1.1\r\nHost: a\r\n\r\n")
    await relayed.until("/a")
    copied.send("two ")
    await copied.until("app: two")
    thief.send(unsubscribe(port))
    await thief.settle()
    await seen.until("three connections' worth", () => seen.connections.size === 2)
    expect([portsIn(pod, "ports"), portsIn(pod, "copied"), portsIn(pod, "formerly_copied")]).toEqual([[], [port], []])
    copied.send("three")
    copied.end()
    relayed.send("GET /b HTTP/1.1\r\nHost: a\r\n\r\n")
    await relayed.until("/b")
    relayed.end()
    await seen.until("both ends", () => [...seen.connections.values()].every(({ closed }) => closed))
    const texts = [...seen.connections.values()].map(textOf).sort()
    expect(texts[1]).toBe("one two three")
    expect(texts[0]).toContain("/b")
    expect(seen.warnings).toEqual([])
  })

  test("a port somebody steals and gives back again and again loses no connection and doubles none", async () => {
    const port = echo()
    const served = await agent()
    const [client, thief] = [await served.connect(), await served.connect()]
    expect(await subscribe(client, mirror(port))).toBe("Ok")
    const seen = watch(client)
    const stolenTexts: string[] = []
    thief.takeOver((message) => {
      if (message.kind !== "TcpSteal" || message.value.kind !== "Data") return
      const { connectionId, bytes } = message.value.value
      if (bytes.length === 0) return thief.send(data(connectionId, ""))
      stolenTexts.push(Buffer.from(bytes).toString())
      thief.send(data(connectionId, `thief: ${Buffer.from(bytes)}`))
    })
    let running = true
    const moving = (async () => {
      for (let moves = 0; ; moves++) {
        if (!running) return moves
        thief.send(steal({ kind: "All", value: port }))
        await Bun.sleep(15)
        thief.send(unsubscribe(port))
        await Bun.sleep(15)
      }
    })()
    const answers: string[] = []
    const callers = Array.from({ length: 8 }, async (_, caller) => {
      for (let count = 0; count < 400; count++) answers.push(await exchange(pod, pod.ip4, port, `[${caller}.${count}]`))
    })
    await Promise.all(callers)
    running = false
    expect(await moving).toBeGreaterThan(5)
    const all = Array.from({ length: 8 }, (_, caller) =>
      Array.from({ length: 400 }, (_, count) => `[${caller}.${count}]`),
    )
      .flat()
      .sort()
    await seen.until("all copies", () => seen.connections.size >= 3200)
    await seen.until("all ends", () => [...seen.connections.values()].every(({ closed }) => closed))
    expect([...seen.connections.values()].map(textOf).sort()).toEqual(all)
    expect(answers.map((answer) => answer.replace(/^\w+: /, "")).sort()).toEqual(all)
    // Both ways were taken.
    expect(answers.filter((answer) => answer.startsWith("thief")).length).toBe(stolenTexts.length)
    expect(stolenTexts.length).toBeGreaterThan(0)
    expect(stolenTexts.length).toBeLessThan(3200)
    expect(seen.warnings).toEqual([])
  }, 120_000)

  test.each(["unsubscribes", "leaves"])(
    "when its client %s, established connections are copied no more",
    async (how) => {
      const port = echo()
      const client = await (await agent()).connect()
      expect(await subscribe(client, mirror(port))).toBe("Ok")
      const caller = await call(pod, pod.ip4, port)
      caller.send("x")
      await caller.until("app: x")
      if (how === "leaves") client.link.close()
      else {
        const seen = watch(client)
        await seen.until("the connection", () => seen.connections.size === 1)
        client.send({ kind: "Tcp", value: { kind: "ConnectionUnsubscribe", value: 0n } }, leave(port))
      }
      for (let wait = 0; wait < 100 && portsIn(pod, "copied").length > 0; wait++) await Bun.sleep(20)
      for (let wait = 0; wait < 250 && portsIn(pod, "formerly_copied").length > 0; wait++) await Bun.sleep(20)
      expect([portsIn(pod, "copied"), portsIn(pod, "formerly_copied")]).toEqual([[], []])
      caller.send("y")
      await caller.until("app: y")
      caller.reset()
    },
  )

  test("a connection the application resets is over for the client, too", async () => {
    const listener = pod.inPod(() =>
      Bun.listen({ hostname: "::", port: 0, socket: { data: (socket) => void socket.terminate() } }),
    )
    const client = await (await agent()).connect()
    expect(await subscribe(client, mirror(listener.port))).toBe("Ok")
    const seen = watch(client)
    const caller = await call(pod, pod.ip4, listener.port)
    caller.send("x")
    await caller.ended
    await seen.until("the end of the copy", () => seen.connections.get(0n)?.closed === true)
    expect(textOf(seen.connections.get(0n)!)).toBe("x")
    listener.stop(true)
  })
})

/** 64 KiB. */
const randomWithoutNewline = () =>
  Buffer.from(crypto.getRandomValues(new Uint8Array(64 << 10)).map((byte) => byte | 16))

/** Before anybody in the pod sees them. */
function loseOneInTen(pod: Pod, port: number): void {
  const rules = `add table inet lossy
    add chain inet lossy arriving { type filter hook prerouting priority -300; }
    add rule inet lossy arriving tcp dport ${port} numgen random mod 10 == 0 drop`
  const { exitCode, stderr } = pod.inPod(() => Bun.spawnSync(["nft", "-f", "-"], { stdin: Buffer.from(rules) }))
  if (exitCode !== 0) throw new Error(`nft: ${stderr}`)
}

async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await Bun.sleep(10)
}
