import { describe, expect, test } from "bun:test"
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { connectedCallers } from "../../../plugins/interception/agent/connected-callers.ts"
import { connectedFlows } from "../../../plugins/interception/sock-diag.ts"
import { startAgentProcess } from "./agent-process.ts"
import { call, exchange, startApplication, subscribe } from "./kit.ts"
import { bytesSeen, mirror, portsIn, textOf, watch } from "./mirroring.ts"
import { type Pod, whyNoPods } from "./pod.ts"
import { type FreshPod, freshPods } from "./pods.ts"

/* How connections of a copied port begin and end, and where packets cannot be copied. */

const reason = whyNoPods()
if (reason) console.warn(`SKIPPED: copied connections: ${reason}`)

const python = "/usr/bin/python3"
const hasPython = Bun.file(python).size > 0
if (!hasPython) console.warn(`SKIPPED: callers that take the same port again: there is no ${python}`)

const nft = Bun.which("nft")
if (!nft) console.warn("SKIPPED: callers whose addresses are changed: the program nft is missing")

/** The kernel counts a receive buffer double, and less than this is too little for copies. */
const leastReceiveBytes = 512 << 10

describe.skipIf(reason !== undefined)("copied connections", () => {
  let pod: Pod
  let apps: FreshPod["apps"]
  let agents: FreshPod["agents"]
  let agent: FreshPod["agent"]
  freshPods({}, (made) => ({ pod, apps, agents, agent } = made))

  const echo = () => {
    const app = startApplication(pod, (text) => (text === "" ? "" : `app: ${text}`))
    apps.push(app)
    return app.port
  }

  test("those from before the subscription are left alone, those after it are copied", async () => {
    const port = echo()
    const early = await call(pod, pod.ip4, port)
    early.send("early")
    await early.until("app: early")
    const client = await (await agent()).connect()
    expect(await subscribe(client, mirror(port))).toBe("Ok")
    const seen = watch(client)
    early.send("still")
    await early.until("app: still")
    early.end()
    await early.ended
    await exchange(pod, pod.ip4, port, "late")
    await seen.until("the end of the copy", () => seen.connections.get(0n)?.closed === true)
    expect([...seen.connections.values()].map(textOf)).toEqual(["late"])
    expect(seen.warnings).toEqual([])
  })

  test("one its caller resets is over for the client, too, and the gauge counts those there are", async () => {
    const port = echo()
    const counting = await startAgentProcess(pod.pid, { MIRRORD_AGENT_METRICS: "127.0.0.1:0" })
    agents.push(counting)
    const metricsPort = /metricsPort=(\d+)/.exec(counting.output())?.[1]
    const counted = async () => {
      const text = await (await fetch(`http://127.0.0.1:${metricsPort}/metrics`)).text()
      return /^mirrord_agent_mirror_connection_subscription_count (\d+)$/m.exec(text)?.[1]
    }
    const client = await counting.connect()
    expect(await subscribe(client, mirror(port))).toBe("Ok")
    const seen = watch(client)
    const caller = await call(pod, pod.ip4, port)
    caller.send("x")
    await caller.until("app: x")
    await seen.until("the copy", () => bytesSeen(seen) === 1)
    expect(await counted()).toBe("1")
    caller.reset()
    await seen.until("the end of the copy", () => seen.connections.get(0n)?.closed === true)
    expect(await counted()).toBe("0")
  })

  test.skipIf(!hasPython)("a caller that takes the same port again and again makes as many connections", async () => {
    const port = echo()
    const client = await (await agent()).connect()
    expect(await subscribe(client, mirror(port))).toBe("Ok")
    const seen = watch(client)
    const source = `
import socket, struct
for count in range(50):
    s = socket.socket()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.bind(("", 41000))
    s.connect(("${pod.ip4}", ${port}))
    s.sendall(b"[%d]" % count)
    s.recv(100)
    # Every other one ends by a reset, the rest as usual: the application first, so that the caller's port is free.
    if count % 2: s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    else:
        s.shutdown(socket.SHUT_WR)
        while s.recv(100): pass
        s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    s.close()
`
    const child = pod.inCaller(() => Bun.spawn([python, "-c", source], { stdio: ["ignore", "ignore", "pipe"] }))
    expect([await child.exited, await new Response(child.stderr).text()]).toEqual([0, ""])
    await seen.until("all ends", () => {
      const all = [...seen.connections.values()]
      return all.length === 50 && all.every(({ closed }) => closed)
    })
    expect([...seen.connections.values()].map(textOf)).toEqual(Array.from({ length: 50 }, (_, count) => `[${count}]`))
    expect(seen.warnings).toEqual([])
  })

  test("the kernel's list of connections names them as their packets do, whatever the application listens on", async () => {
    const both = echo()
    const listener = pod.inPod(() =>
      Bun.listen({ hostname: "0.0.0.0", port: 0, socket: { data: (socket, bytes) => void socket.write(bytes) } }),
    )
    const routes = [
      [pod.ip4, both, "inCaller"],
      [pod.ip6, both, "inCaller"],
      ["127.0.0.1", both, "inPod"],
      ["::1", both, "inPod"],
      [pod.ip4, listener.port, "inCaller"],
    ] as const
    const client = await (await agent()).connect()
    for (const port of [both, listener.port]) expect(await subscribe(client, mirror(port))).toBe("Ok")
    const callers = await Promise.all(routes.map(([ip, port, from]) => call(pod, ip, port, from)))
    for (const caller of callers) caller.send("x")
    for (const caller of callers) await caller.until("x")
    const flows = pod.inPod(() => connectedFlows([both, listener.port]))
    const lengths = [...flows].map(({ length }) => length).sort((one, other) => one - other)
    expect(lengths).toEqual([12, 12, 12, 36, 36])
    const callerAddress = Buffer.from([10, 77, 0, 1, 10, 77, 0, 2]).toString("latin1")
    expect([...flows].filter((flow) => flow.startsWith(callerAddress)).length).toBe(2)
    for (const caller of callers) caller.reset()
    listener.stop(true)
  })

  test("one whose last packets were lost is over for the client soon, though nothing comes after it", async () => {
    const app = startApplication(pod, (_, isEnd) => (isEnd ? "done" : ""))
    apps.push(app)
    const slow = await agent()
    const client = await slow.connect()
    expect(await subscribe(client, mirror(app.port))).toBe("Ok")
    const seen = watch(client)
    const flood = await call(pod, pod.ip4, app.port)
    flood.send("begun")
    await seen.until("the first bytes", () => bytesSeen(seen) === 5)
    process.kill(slow.pid, "SIGSTOP")
    flood.send(Buffer.alloc(64 << 20, "x"))
    flood.end()
    expect(await flood.ended).toBe("done")
    // The kernel gathers packets for a hundredth of a second before it finds no room for them.
    await Bun.sleep(200)
    process.kill(slow.pid, "SIGCONT")
    await seen.until("the end of the copy", () => seen.connections.get(0n)?.closed === true)
    expect(seen.connections.get(0n)?.ended).toBe(false)
    // Unless the client was too slow as well.
    if (seen.warnings.length === 1) await seen.until("the loss", () => seen.warnings.length > 1)
    expect(seen.warnings).toContain("mirrored connections may be missing: the agent could not keep up with the traffic")
  }, 60_000)

  test.skipIf(!nft)(
    "one whose caller's address a rule of the pod changes is copied, and found alive under both",
    async () => {
      const rules = `add table ip other
      add chain ip other arriving { type nat hook input priority 100; }
      add rule ip other arriving ip saddr 10.77.0.1 snat to 10.77.0.99`
      const { exitCode } = pod.inPod(() => Bun.spawnSync(["nft", "-f", "-"], { stdin: Buffer.from(rules) }))
      expect(exitCode).toBe(0)
      const app = startApplication(pod, (text) => (text === "" ? "" : `app: ${text}`))
      apps.push(app)
      const client = await (await agent()).connect()
      expect(await subscribe(client, mirror(app.port))).toBe("Ok")
      const seen = watch(client)
      const caller = await call(pod, pod.ip4, app.port)
      caller.send("x")
      await caller.until("app: x")
      expect(app.callers).toEqual(["10.77.0.99"])
      const [known] = pod.inPod(() => connectedFlows([app.port]))
      const [sent] = [...pod.inPod(() => connectedCallers([app.port], ["none"]))].filter((flow) => flow !== known)
      expect(Buffer.from(sent!, "latin1").subarray(0, 8)).toEqual(Buffer.from([10, 77, 0, 1, 10, 77, 0, 2]))
      expect(sent!.slice(10)).toBe(known!.slice(10))
      caller.end()
      await seen.until("the end of the copy", () => seen.connections.get(0n)?.closed === true)
      expect(textOf(seen.connections.get(0n)!)).toBe("x")
      expect([...pod.inPod(() => connectedCallers([app.port], ["none"]))]).toEqual([])
    },
  )

  test("where packets are too large for copies, connections after the first pass through the agent", async () => {
    const enlarge = (device: string) =>
      Bun.spawnSync(["ip", "link", "set", device, "gso_max_size", "200000", "gro_max_size", "200000"]).exitCode
    expect([pod.inCaller(() => enlarge("cable")), pod.inPod(() => enlarge("eth0"))]).toEqual([0, 0])
    const app = startApplication(pod, (_, isEnd) => (isEnd ? "done" : ""))
    apps.push(app)
    const client = await (await agent()).connect()
    expect(await subscribe(client, mirror(app.port))).toBe("Ok")
    const seen = watch(client)
    const upload = async () => {
      const caller = await call(pod, pod.ip6, app.port)
      caller.send(Buffer.alloc(3 << 20, "x"))
      caller.end()
      expect(await caller.ended).toBe("done")
    }
    await upload()
    const notice = `packets to port ${app.port} are too large to be copied: new connections pass through the agent`
    await seen.until("the notice", () => seen.warnings.includes(notice))
    expect([portsIn(pod, "ports"), portsIn(pod, "copied")]).toEqual([[app.port], []])
    const before = bytesSeen(seen)
    await upload()
    await seen.until("the whole of the second", () => bytesSeen(seen) - before === 3 << 20)
    expect(seen.warnings.filter((text) => text === notice).length).toBe(1)
    expect(app.received.map(({ length }) => length)).toEqual([3 << 20, 3 << 20])
  })
})

const canUnshare = Bun.spawnSync(["unshare", "--user", "--map-root-user", "--net", "true"]).exitCode === 0
if (!canUnshare) console.warn("SKIPPED: mirroring in a user namespace: this machine makes none")

test.skipIf(reason !== undefined || !canUnshare)(
  "in a user namespace connections are copied, or relayed where the kernel may not keep enough",
  async () => {
    const side = join(import.meta.dir, "user-namespace-side.ts")
    const child = Bun.spawn(["unshare", "--user", "--map-root-user", "--net", process.execPath, side], {
      stdio: ["ignore", "pipe", "inherit"],
    })
    const { way, notes, ...rest } = JSON.parse(await new Response(child.stdout).text())
    expect(rest).toEqual({ result: "Ok", answer: "app: hello", copy: "hello", warnings: [] })
    const mayKeepEnough = Number(readFileSync("/proc/sys/net/core/rmem_max", "utf8")) >= leastReceiveBytes
    expect(way).toEqual([mayKeepEnough ? "copied" : "ports"])
    // At most one line, for whoever reads the log.
    expect(notes.length).toBe(mayKeepEnough ? 0 : 1)
  },
)
