import { describe, expect, test } from "bun:test"
import { within } from "../../../agent/test-agent.ts"
import type { Endpoint } from "../../../core/interceptor.ts"
import { check } from "../../../core/linux/errno.ts"
import { AF_INET, AF_INET6, encodeEndpoint, familyOf } from "../../../core/linux/socket-address.ts"
import { syscall } from "../../../core/linux/syscall.ts"
import type { ClientMessage } from "../../../core/protocol/index.ts"
import { NfTables } from "../../../plugins/interception/agent/nf-tables.ts"
import { NETLINK_NETFILTER, NetlinkSocket, readAttributes } from "../../../plugins/interception/netlink.ts"
import { header, startApplication, stealMatching, subscribe } from "./kit.ts"
import { type Pod, whyNoPods } from "./pod.ts"
import { type FreshPod, freshPods } from "./pods.ts"

/* Whom the application sees while the agent stands in between: its port is mirrored by a relay, or stolen with a filter that does not match. */

const reason = whyNoPods()
if (reason) console.warn(`SKIPPED: the application sees its callers: ${reason}`)

const nft = Bun.which("nft")
if (!nft) console.warn("SKIPPED: the application's callers without connection tracking: the program nft is missing")
const SOL_SOCKET = 1
const SO_REUSEADDR = 2
const SO_LINGER = 13
const SOL_IP = 0
const IP_FREEBIND = 15

const relayed = { PODSIDE_AGENT_COPY_MIRRORED: "false" }
const mirror = (port: number): ClientMessage => ({ kind: "Tcp", value: { kind: "PortSubscribe", value: port } })

/** Echoes, and keeps who called it. */
interface Application {
  port: number
  callers: Endpoint[]
  /** How connections ended, as they did: "in order" or the error. */
  ends: string[]
  stop(): void
}

function startEcho(pod: Pod, options: { fd?: number; silent?: boolean } = {}): Application {
  const callers: Endpoint[] = []
  const ends: string[] = []
  const waiting = new WeakMap<object, Buffer>()
  const push = (socket: Bun.Socket<unknown>, bytes: Buffer) => {
    const all = Buffer.concat([waiting.get(socket) ?? Buffer.alloc(0), bytes])
    waiting.set(socket, all.subarray(Math.max(0, socket.write(all))))
  }
  const listener = pod.inPod(() =>
    Bun.listen({
      ...(options.fd === undefined
        ? { hostname: "::", port: 0 }
        : ({ fd: options.fd } as unknown as { hostname: string; port: number })),
      socket: {
        open: (socket) => {
          callers.push({ ip: socket.remoteAddress.replace("::ffff:", ""), port: socket.remotePort })
        },
        data: (socket, bytes) => (options.silent ? undefined : push(socket, bytes)),
        drain: (socket) => push(socket, Buffer.alloc(0)),
        close: (_, error) => void ends.push(error?.message ?? "in order"),
      },
    }),
  )
  return { port: listener.port, callers, ends, stop: () => listener.stop(true) }
}

interface Call extends Endpoint {
  /** Sends and gives as many bytes as come back. */
  echo(bytes: string | Buffer): Promise<Buffer>
  end(): void
  reset(): void
  ended: Promise<string>
}

/** A connection from an address of the caller's, or of the pod's; port 0: any. */
async function callFrom(
  pod: Pod,
  from: Endpoint,
  to: Endpoint,
  side: "inCaller" | "inPod" = "inCaller",
): Promise<Call> {
  const family = familyOf(to.ip)
  const fd = pod[side](() => check(syscall("socket", family, 1 | 0o4000 | 0o2000000, 0), "socket"))
  check(syscall("setsockopt", fd, SOL_SOCKET, SO_REUSEADDR, new Uint32Array([1]), 4), "reuse")
  check(syscall("setsockopt", fd, SOL_IP, IP_FREEBIND, new Uint32Array([1]), 4), "any address")
  const [own, other] = [encodeEndpoint(from), encodeEndpoint(to)]
  check(syscall("bind", fd, own, own.length), `bind ${from.ip} ${from.port}`)
  syscall("connect", fd, other, other.length)
  const ended = Promise.withResolvers<string>()
  let got: Buffer[] = []
  let count = 0
  let wanted = 0
  let unsent = Buffer.alloc(0)
  let arrived = () => {}
  const push = () => void (unsent = unsent.subarray(Math.max(0, socket.write(unsent))))
  const socket = await Bun.connect({
    ...({ fd } as unknown as { hostname: string; port: number }),
    socket: {
      data(_, bytes) {
        got.push(bytes)
        count += bytes.length
        if (count >= wanted) arrived()
      },
      drain: push,
      close: (_, error) => ended.resolve(error?.message ?? "in order"),
      error: (_, error) => ended.resolve(error.message),
    },
  })
  return {
    ip: from.ip,
    port: socket.localPort,
    ended: within("the end of a connection", ended.promise),
    async echo(bytes) {
      const sent = Buffer.from(bytes as Buffer)
      const back = Promise.withResolvers<void>()
      got = []
      count = 0
      wanted = sent.length
      arrived = back.resolve
      unsent = Buffer.concat([unsent, sent])
      push()
      await within(`${sent.length} bytes back`, Promise.race([back.promise, ended.promise]), 60_000)
      return Buffer.concat(got)
    },
    end: () => void socket.end(),
    reset() {
      syscall("setsockopt", (socket as unknown as { fd: number }).fd, SOL_SOCKET, SO_LINGER, new Uint32Array([1, 0]), 8)
      socket.terminate()
    },
  }
}

const seen = (app: Application, { ip, port }: Endpoint) =>
  app.callers.some((caller) => caller.ip === ip && caller.port === port)

describe.skipIf(reason !== undefined)("the application sees its callers", () => {
  let pod: Pod
  let agent: FreshPod["agent"]
  let agents: FreshPod["agents"]
  freshPods(relayed, (made) => {
    ;({ pod, agent, agents } = made)
    // A whole network of callers, reached through one.
    made.pod.inCaller(() => {
      for (const network of ["10.78.0.0/16", "fd78::/64"]) ip("route", "add", "local", network, "dev", "lo")
    })
    made.pod.inPod(() => {
      ip("route", "add", "10.78.0.0/16", "via", "10.77.0.1")
      ip("-6", "route", "add", "fd78::/64", "via", "fd77::1")
    })
  })

  const families = [
    ["IPv4", "10.77.0.1", "10.78.4.5", (pod: Pod) => pod.ip4],
    ["IPv6", "fd77::1", "fd78::4:5", (pod: Pod) => pod.ip6],
  ] as const

  test.each(families)(
    "%s: with address and port, mirrored or past a filter",
    async (_, one, other, podIp) => {
      const app = startEcho(pod)
      const to = { ip: podIp(pod), port: app.port }
      const running = await agent()
      for (const message of [mirror(app.port), stealMatching(app.port, header("^x-user: me$"))]) {
        const client = await running.connect()
        expect(await subscribe(client, message)).toBe("Ok")
        // Two callers with the same port, and one inside the pod.
        const calls = [await callFrom(pod, { ip: one, port: 0 }, to)]
        calls.push(await callFrom(pod, { ip: other, port: calls[0]!.port }, to))
        calls.push(await callFrom(pod, { ip: to.ip, port: 0 }, to, "inPod"))
        for (let round = 0; round < 3; round++) {
          for (const call of calls) {
            const text = `GET /${round} HTTP/1.1\r\nHost: a\r\n\r\n`
            expect((await call.echo(text)).toString()).toBe(text)
          }
        }
        expect(calls.map((call) => seen(app, call))).toEqual([true, true, true])
        expect(app.callers).toHaveLength(3)
        for (const call of calls) call.end()
        await Promise.all(calls.map((call) => call.ended))
        app.callers.length = 0
        client.link.close()
      }
      app.stop()
    },
    60_000,
  )

  test.each(families)(
    "%s: bodies of any size come through whole, also on small links",
    async (_, one, __, podIp) => {
      const app = startEcho(pod)
      const client = await (await agent()).connect()
      expect(await subscribe(client, mirror(app.port))).toBe("Ok")
      const body = Buffer.alloc(8 << 20)
      for (let at = 0; at < body.length; at += 4) body.writeUInt32LE(at, at)
      for (const mtu of [9000, 1500, 1280]) {
        pod.inPod(() => ip("link", "set", "eth0", "mtu", String(mtu)))
        pod.inCaller(() => ip("link", "set", "cable", "mtu", String(mtu)))
        const call = await callFrom(pod, { ip: one, port: 0 }, { ip: podIp(pod), port: app.port })
        expect(Bun.hash(await call.echo(body))).toBe(Bun.hash(body))
        expect(seen(app, call)).toBe(true)
        call.end()
      }
      client.link.close()
      app.stop()
    },
    60_000,
  )

  test.each(families)(
    "%s: three thousand callers at once, each with its own",
    async (family, _, __, podIp) => {
      const app = startEcho(pod)
      const to = { ip: podIp(pod), port: app.port }
      const client = await (await agent()).connect()
      expect(await subscribe(client, mirror(app.port))).toBe("Ok")
      const calls: Call[] = []
      for (let from = 0; from < 3000; from += 250) {
        const numbers = Array.from({ length: 250 }, (_, index) => from + index)
        const portion = await Promise.all(
          numbers.map((number) => {
            const address =
              family === "IPv4" ? `10.78.${1 + (number >> 8)}.${number & 255}` : `fd78::1:${number.toString(16)}`
            // Ports of any size, each used by three of them.
            return callFrom(pod, { ip: address, port: 1025 + 64 * (number % 1000) }, to)
          }),
        )
        const back = await Promise.all(portion.map((call, index) => call.echo(`I am ${numbers[index]}`)))
        expect(back.map(String)).toEqual(numbers.map((number) => `I am ${number}`))
        calls.push(...portion)
      }
      const known = new Set(app.callers.map(({ ip, port }) => `${ip} ${port}`))
      expect(app.callers).toHaveLength(3000)
      expect(calls.filter(({ ip, port }) => !known.has(`${ip} ${port}`))).toEqual([])
      for (const call of calls) call.end()
      client.link.close()
      app.stop()
    },
    120_000,
  )

  test("more IPv6 callers than are kept in mind, then the first again", async () => {
    const app = startEcho(pod)
    const to = { ip: pod.ip6, port: app.port }
    const client = await (await agent()).connect()
    expect(await subscribe(client, mirror(app.port))).toBe("Ok")
    const ipOf = (number: number) => `fd78::2:${number.toString(16)}`
    for (let from = 0; from < 9000; from += 250) {
      const portion = await Promise.all(
        Array.from({ length: 250 }, (_, index) => callFrom(pod, { ip: ipOf(from + index), port: 0 }, to)),
      )
      await Promise.all(portion.map((call) => call.echo("hello")))
      expect(portion.filter((call) => !seen(app, call))).toEqual([])
      for (const call of portion) call.reset()
      app.callers.length = 0
    }
    const again = await callFrom(pod, { ip: ipOf(0), port: 0 }, to)
    await again.echo("hello")
    expect(seen(app, again)).toBe(true)
    again.end()
    client.link.close()
    app.stop()
  }, 120_000)

  test("a caller that takes its port again at once is served at once, under its address", async () => {
    const app = startEcho(pod)
    const to = { ip: pod.ip4, port: app.port }
    const client = await (await agent()).connect()
    expect(await subscribe(client, mirror(app.port))).toBe("Ok")
    const { port } = await callFrom(pod, { ip: "10.77.0.1", port: 0 }, to)
    for (let round = 0; round < 200; round++) {
      const started = performance.now()
      const call = await callFrom(pod, { ip: "10.78.9.9", port }, to)
      expect((await call.echo(`round ${round}`)).toString()).toBe(`round ${round}`)
      // A packet that got lost would be sent again after a second.
      expect(performance.now() - started).toBeLessThan(900)
      call.reset()
    }
    const addresses = app.callers.filter(({ ip }) => ip === "10.78.9.9")
    expect(addresses).toHaveLength(200)
    client.link.close()
    app.stop()
  }, 60_000)

  test("a caller that takes its port again, past the agent, keeps its connection when the agent ends", async () => {
    const app = startEcho(pod)
    const to = { ip: pod.ip4, port: app.port }
    const client = await (await agent()).connect()
    // Another port keeps the kernel's rules in place while the first one is left alone again.
    expect(await subscribe(client, mirror(app.port + 1))).toBe("Ok")
    expect(await subscribe(client, mirror(app.port))).toBe("Ok")
    const first = await callFrom(pod, { ip: "10.78.6.1", port: 0 }, to)
    await first.echo("hello")
    first.reset()
    await until(() => app.ends.length === 1)
    client.send({ kind: "Tcp", value: { kind: "PortUnsubscribe", value: app.port } })
    await client.settle()
    await Bun.sleep(1500)
    const again = await callFrom(pod, first, to)
    await again.echo("direct")
    expect(app.callers.at(-1)).toEqual({ ip: first.ip, port: first.port })
    await agents.pop()!.stop()
    expect((await again.echo("still here")).toString()).toBe("still here")
    again.end()
    app.stop()
  }, 60_000)

  test("two agents in one pod do not mistake each other's callers", async () => {
    const apps = [startEcho(pod), startEcho(pod)]
    for (const app of apps) expect(await subscribe(await (await agent()).connect(), mirror(app.port))).toBe("Ok")
    for (let round = 0; round < 3; round++) {
      for (const [index, app] of apps.entries()) {
        for (const [from, to] of [
          [`10.78.5.${10 * round + index}`, pod.ip4],
          [`fd78::5:${10 * round + index}`, pod.ip6],
        ] as const) {
          const call = await callFrom(pod, { ip: from, port: 0 }, { ip: to, port: app.port })
          await call.echo("hello")
          expect(app.callers.pop()).toEqual({ ip: from, port: call.port })
          call.end()
        }
      }
    }
    for (const app of apps) app.stop()
  }, 60_000)

  test("an end or a reset of either side reaches the other", async () => {
    const app = startEcho(pod)
    const to = { ip: pod.ip4, port: app.port }
    const client = await (await agent()).connect()
    expect(await subscribe(client, mirror(app.port))).toBe("Ok")
    const [polite, rude, left] = [
      await callFrom(pod, { ip: "10.78.1.1", port: 0 }, to),
      await callFrom(pod, { ip: "10.78.1.2", port: 0 }, to),
      await callFrom(pod, { ip: "10.78.1.3", port: 0 }, to),
    ]
    for (const call of [polite, rude, left]) await call.echo("hello")
    polite.end()
    expect(await polite.ended).toBe("in order")
    await until(() => app.ends.length === 1)
    rude.reset()
    await until(() => app.ends.length === 2)
    expect(app.ends[0]).toBe("in order")
    app.stop()
    await left.ended
    client.link.close()
  }, 60_000)

  test("an application that accepts late gets every connection", async () => {
    const fd = pod.inPod(() => check(syscall("socket", AF_INET6, 1 | 0o4000 | 0o2000000, 0), "socket"))
    const any = encodeEndpoint({ ip: "::", port: 4300 })
    check(syscall("bind", fd, any, any.length), "bind")
    check(syscall("listen", fd, 2), "listen")
    const client = await (await agent()).connect()
    expect(await subscribe(client, mirror(4300))).toBe("Ok")
    const calls: Call[] = []
    for (let number = 1; number <= 12; number++)
      calls.push(await callFrom(pod, { ip: `10.78.3.${number}`, port: 0 }, { ip: pod.ip4, port: 4300 }))
    const answers = Promise.all(calls.map((call, number) => call.echo(`I am ${number}`)))
    await Bun.sleep(500)
    const app = startEcho(pod, { fd })
    expect((await answers).map(String)).toEqual(calls.map((_, number) => `I am ${number}`))
    expect(calls.filter((call) => !seen(app, call))).toEqual([])
    for (const call of calls) call.end()
    client.link.close()
    app.stop()
  }, 60_000)

  test("killed agents leave nothing: no rule, no connection, and callers reach the application at once", async () => {
    const app = startEcho(pod)
    const to = { ip: pod.ip4, port: app.port }
    for (let round = 0; round < 5; round++) {
      const running = await agent()
      // Whose descriptors callers get afterwards, lower than that of what was opened with the subscription.
      const guests = await Promise.all(Array.from({ length: round * 50 }, () => running.connect()))
      const client = await running.connect()
      expect(await subscribe(client, mirror(app.port))).toBe("Ok")
      for (const { link } of guests) link.close()
      await Promise.all(guests.map(({ link }) => link.ended))
      const calls = await Promise.all(
        Array.from({ length: 100 }, (_, index) => callFrom(pod, { ip: `10.78.2.${index}`, port: 0 }, to)),
      )
      await Promise.all(calls.map((call) => call.echo("hello")))
      app.ends.length = 0
      await agents.pop()!.kill()
      expect(tables(pod)).toEqual([])
      const started = performance.now()
      const direct = await callFrom(pod, { ip: "10.77.0.1", port: 0 }, to)
      expect((await direct.echo("direct")).toString()).toBe("direct")
      // A packet that got lost would be sent again after a second.
      expect(performance.now() - started).toBeLessThan(900)
      expect(seen(app, direct)).toBe(true)
      await until(() => app.ends.length === 100)
      for (const call of calls) call.reset()
      direct.end()
    }
    app.stop()
  }, 120_000)

  test("an agent that ends before an answer ends the connection at the application, too", async () => {
    const app = startEcho(pod, { silent: true })
    const client = await (await agent()).connect()
    expect(await subscribe(client, mirror(app.port))).toBe("Ok")
    const to = { ip: pod.ip4, port: app.port }
    const calls: Call[] = []
    for (let number = 1; number <= 20; number++)
      calls.push(await callFrom(pod, { ip: `10.78.2.${number}`, port: 0 }, to))
    for (const call of calls) call.echo("hello").catch(() => {})
    await until(() => app.callers.length === 20)
    expect(remembered(pod)).toBe(20)
    expect(await agents.pop()!.stop()).toBe(0)
    await until(() => app.ends.length === 20)
    await Promise.all(calls.map((call) => call.ended))
    // One of them would be in the way of the same caller's next connection, as long as connections are tracked.
    expect(remembered(pod)).toBe(0)
    app.stop()
  }, 60_000)

  test.skipIf(!nft)("where loopback traffic is not tracked, the application sees the pod's own address", async () => {
    pod.inPod(() => {
      run("nft", "add table inet untracked")
      run("nft", "add chain inet untracked within { type filter hook output priority -300; }")
      run("nft", "add rule inet untracked within oifname lo notrack")
    })
    const app = startApplication(pod, (text) => `app: ${text}`)
    const client = await (await agent()).connect()
    expect(await subscribe(client, mirror(app.port))).toBe("Ok")
    for (const [to, from] of [
      [pod.ip4, "10.77.0.1"],
      [pod.ip6, "fd77::1"],
    ] as const) {
      for (let round = 0; round < 3; round++) {
        const call = await callFrom(pod, { ip: from, port: 0 }, { ip: to, port: app.port })
        await call.echo("hello")
        call.end()
        await call.ended
      }
      // The first try under a caller's address said nothing.
      expect(app.received).toEqual(["", "hello", "hello", "hello"])
      expect(app.callers.slice(1)).toEqual([to, to, to])
      app.callers.length = app.received.length = 0
    }
    client.link.close()
    app.stop()
  })

  test("connections of others in the pod keep their address, whatever priority they have", async () => {
    const app = startEcho(pod)
    const direct = startEcho(pod)
    const client = await (await agent()).connect()
    expect(await subscribe(client, mirror(app.port))).toBe("Ok")
    const fd = pod.inPod(() => check(syscall("socket", AF_INET, 1 | 0o2000000, 0), "socket"))
    check(syscall("setsockopt", fd, SOL_SOCKET, 12, Buffer.from([10, 78, 7, 7]), 4), "priority")
    const to = encodeEndpoint({ ip: pod.ip4, port: direct.port })
    check(syscall("connect", fd, to, to.length), "connect")
    await until(() => direct.callers.length === 1)
    expect(direct.callers[0]?.ip).toBe(pod.ip4)
    syscall("close", fd)
    client.link.close()
    app.stop()
    direct.stop()
  })
})

describe.skipIf(reason !== undefined).each([
  ["PODSIDE_AGENT_KEEP_CALLERS", "false"],
  ["PODSIDE_AGENT_RULES", "iptables-nft"],
])("with %s=%s", (name, value) => {
  let pod: Pod
  let agent: FreshPod["agent"]
  freshPods({ ...relayed, [name]: value }, (made) => ({ pod, agent } = made))

  test("the application sees the pod's own address", async () => {
    const app = startEcho(pod)
    const client = await (await agent()).connect()
    expect(await subscribe(client, mirror(app.port))).toBe("Ok")
    for (const ip of [pod.ip4, pod.ip6]) {
      const call = await callFrom(
        pod,
        { ip: ip === pod.ip4 ? "10.77.0.1" : "fd77::1", port: 0 },
        { ip, port: app.port },
      )
      expect((await call.echo("hello")).toString()).toBe("hello")
      expect(app.callers.pop()?.ip).toBe(ip)
      call.end()
    }
    client.link.close()
    app.stop()
  })
})

/** How many connections with a mark the pod's connection tracking knows: those of agents to the application. */
function remembered(pod: Pod): number {
  return pod.inPod(() => {
    const socket = new NetlinkSocket(NETLINK_NETFILTER)
    try {
      const entries = socket.dump({ type: (1 << 8) | 1, body: Buffer.alloc(4) }, "list tracked connections")
      return entries.filter((entry) => readAttributes(entry.subarray(4)).get(8)?.readUInt32BE(0)).length
    } finally {
      socket.close()
    }
  })
}

function tables(pod: Pod): string[] {
  return pod.inPod(() => {
    const nfTables = new NfTables()
    try {
      return nfTables.tables()
    } finally {
      nfTables.close()
    }
  })
}

async function until(isSo: () => boolean): Promise<void> {
  for (let attempt = 0; attempt < 1000 && !isSo(); attempt++) await Bun.sleep(10)
  expect(isSo()).toBe(true)
}

const ip = (...args: string[]) => run("ip", ...args)

function run(...command: string[]): void {
  const { exitCode, stderr } = Bun.spawnSync(command)
  if (exitCode !== 0) throw new Error(`${command.join(" ")}: ${stderr}`)
}
