import { describe, expect, test } from "bun:test"
import type { TestClient } from "../../../agent/test-agent.ts"
import type { ClientMessage, HttpFilter } from "../../../core/protocol/index.ts"
import type { AgentProcess } from "./agent-process.ts"
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
  stolenRequest,
  subscribe,
} from "./kit.ts"
import { type Pod, whyNoPods } from "./pod.ts"
import { mirroringWays, onePod } from "./pods.ts"

const reason = whyNoPods()
if (reason) console.warn(`SKIPPED: whole connections end to end: ${reason}`)

const mirror = (port: number, filter?: HttpFilter): ClientMessage => ({
  kind: "Tcp",
  value: filter ? { kind: "PortSubscribeFilteredHttp", value: [port, filter] } : { kind: "PortSubscribe", value: port },
})

describe.skipIf(reason !== undefined).each(mirroringWays)("whole connections, mirrored ones %s", (_, env) => {
  let pod: Pod
  let agent: AgentProcess

  onePod((made) => ({ pod, agent } = made), env)

  const newConnection = async (client: TestClient, kind: "Tcp" | "TcpSteal" = "TcpSteal") => {
    const message = await stolen(client, kind)
    if (message.kind !== "NewConnectionV2") throw new Error(`expected a connection, got ${message.kind}`)
    return message.value.connection.connectionId
  }

  /** Bytes of a connection until its half close. */
  async function received(client: TestClient, kind: "Tcp" | "TcpSteal" = "TcpSteal"): Promise<Buffer> {
    const pieces: Uint8Array[] = []
    for (;;) {
      const message = await stolen(client, kind)
      if (message.kind !== "Data") throw new Error(`expected data, got ${message.kind}`)
      if (message.value.bytes.length === 0) return Buffer.concat(pieces)
      expect(message.value.bytes.length).toBeLessThanOrEqual(64 << 10)
      pieces.push(message.value.bytes)
    }
  }

  test("a stolen connection carries everything both ways, each direction ending by itself", async () => {
    const client = await agent.connect()
    expect(await subscribe(client, steal({ kind: "All", value: 4000 }))).toBe("Ok")
    const caller = await call(pod, pod.ip4, 4000)
    const id = await newConnection(client)
    const up = Buffer.alloc(3_000_000, "up")
    caller.send(up)
    caller.end()
    expect((await received(client)).equals(up)).toBe(true)
    const down = "down".repeat(500_000)
    for (let at = 0; at < down.length; at += 64_000) client.send(data(id, down.slice(at, at + 64_000)))
    client.send(data(id, ""))
    expect((await caller.ended) === down).toBe(true)
    expect(await stolen(client)).toEqual({ kind: "Close", value: { connectionId: id } })
    client.link.close()
  })

  test("a client that does not read stops the caller, and nothing is lost", async () => {
    const client = await agent.connect()
    expect(await subscribe(client, steal({ kind: "All", value: 4001 }))).toBe("Ok")
    client.link.pause()
    const caller = await call(pod, pod.ip4, 4001)
    const sent = Buffer.alloc(64 << 20, "0123456789abcdef!")
    caller.send(sent)
    caller.end()
    await Bun.sleep(300)
    const residentKib = Number(/VmRSS:\s+(\d+)/.exec(await Bun.file(`/proc/${agent.pid}/status`).text())![1])
    expect(residentKib).toBeLessThan(200 << 10)
    client.link.resume()
    await newConnection(client)
    expect(Bun.hash(await received(client))).toBe(Bun.hash(sent))
    caller.reset()
    client.link.close()
  }, 120_000)

  test("a client reaches the application behind the port it steals by the loopback, and itself by the pod's address", async () => {
    const app = startApplication(pod, (text) => (text === "" ? "" : "from the application"))
    const client = await agent.connect()
    expect(await subscribe(client, steal({ kind: "All", value: app.port }))).toBe("Ok")
    for (const [id, ip] of ["127.0.0.1", "::1", "0.0.0.0", pod.ip4].entries()) {
      const remoteAddress = { kind: "Ip", value: { ip, port: app.port } } as const
      const made = await client.ask({ kind: "TcpOutgoing", value: { kind: "Connect", value: { remoteAddress } } })
      expect(made).toMatchObject({ value: { value: { kind: "Ok" } } })
      const bytes = Buffer.from("who?")
      client.send({ kind: "TcpOutgoing", value: { kind: "Write", value: { connectionId: BigInt(id), bytes } } })
      const next = await client.next()
      if (ip === pod.ip4) expect(next).toMatchObject({ kind: "TcpSteal", value: { kind: "NewConnectionV2" } })
      else
        expect(next).toMatchObject({
          kind: "TcpOutgoing",
          value: { value: { value: { bytes: new Uint8Array(Buffer.from("from the application")) } } },
        })
    }
    client.link.close()
    app.stop()
  })

  test("a newcomer that steals the whole port replaces who was there", async () => {
    const [first, second] = [await agent.connect(), await agent.connect()]
    expect(await subscribe(first, steal({ kind: "All", value: 4002 }))).toBe("Ok")
    expect(await subscribe(second, steal({ kind: "All", value: 4002 }))).toBe("Ok")
    const caller = await call(pod, pod.ip4, 4002)
    await newConnection(second)
    expect(await first.settle()).toEqual([])
    second.link.close()
    await caller.ended
    first.link.close()
  })

  test("an old client gets the old announcement", async () => {
    const client = await agent.connect("1.19.0")
    expect(await subscribe(client, steal({ kind: "All", value: 4003 }))).toBe("Ok")
    const caller = await call(pod, pod.ip4, 4003)
    expect((await stolen(client)).kind).toBe("NewConnectionV1")
    caller.reset()
    client.link.close()
  })

  test("a mirrored connection reaches the application untouched, and its copy the client", async () => {
    const app = startApplication(pod, (text) => (text === "" ? "" : `app: ${text.length}`))
    const client = await agent.connect()
    expect(await subscribe(client, mirror(app.port))).toBe("Ok")
    const odd = "GET / HTTP/1.1\nbare\0\r\n\r\n"
    expect(await exchange(pod, pod.ip4, app.port, odd)).toBe(`app: ${odd.length}`)
    const id = await newConnection(client, "Tcp")
    expect((await received(client, "Tcp")).toString("latin1")).toBe(odd)
    expect(await stolen(client, "Tcp")).toEqual({ kind: "Close", value: { connectionId: id } })
    expect(app.received).toEqual([odd])
    client.link.close()
    app.stop()
  })

  test("a mirroring client that does not read never slows the application down", async () => {
    const app = startApplication(pod, (_, isEnd) => (isEnd ? "done" : ""))
    const client = await agent.connect()
    expect(await subscribe(client, mirror(app.port))).toBe("Ok")
    client.link.pause()
    const caller = await call(pod, pod.ip4, app.port)
    caller.send(Buffer.alloc(32 << 20, "x"))
    caller.end()
    expect(await caller.ended).toBe("done")
    expect(app.received[0]?.length).toBe(32 << 20)
    client.link.abort()
    app.stop()
  }, 120_000)

  test("a mirror with a filter copies just the requests that match, also beside a thief", async () => {
    const app = startApplication(pod, answerWithPath)
    const [client, thief] = [await agent.connect(), await agent.connect()]
    expect(await subscribe(client, mirror(app.port, header("x-user: me")))).toBe("Ok")
    const requests = ["/a", "/b", "/c"].map(
      (path) => `GET ${path} HTTP/1.1\r\nHost: a\r\n${path === "/b" ? "X-User: me\r\n" : ""}\r\n`,
    )
    expect(await exchange(pod, pod.ip4, app.port, requests.join(""))).toContain("app /c")
    expect(app.received).toEqual([requests.join("")])
    const copy = await stolenRequest(client, "Tcp")
    expect(copy.request.uri).toBe("/b")
    expect(await stolen(client, "Tcp")).toEqual({ kind: "Close", value: { connectionId: copy.connectionId } })
    expect(await subscribe(thief, stealMatching(app.port, header("x-user: me")))).toBe("Ok")
    const caller = await call(pod, pod.ip4, app.port)
    caller.send("POST /d HTTP/1.1\r\nHost: a\r\nX-User: me\r\nContent-Length: 2\r\n\r\nhi")
    expect((await stolenRequest(thief)).request.uri).toBe("/d")
    expect((await stolenRequest(client, "Tcp")).content).toBe("hi")
    caller.reset()
    client.link.close()
    thief.link.close()
    app.stop()
  })

  test("a client too old for requests outside of stealing gets none, and is told", async () => {
    const app = startApplication(pod, answerWithPath)
    const client = await agent.connect("1.19.3")
    expect(await subscribe(client, mirror(app.port, header("x-user: me")))).toBe("Ok")
    const request = "GET /b HTTP/1.1\r\nHost: a\r\nX-User: me\r\n\r\n"
    expect(await exchange(pod, pod.ip4, app.port, request)).toContain("app /b")
    expect(await client.next()).toMatchObject({
      kind: "LogMessage",
      value: { level: { kind: "Error" }, message: expect.stringContaining("too old") },
    })
    client.link.abort()
    app.stop()
  })

  test("the application sees a caller's own address, on the loopback as well as from elsewhere", async () => {
    const server = pod.inPod(() =>
      Bun.serve({
        hostname: "0.0.0.0",
        port: 0,
        fetch: (request, own) => new Response(own.requestIP(request)?.address),
      }),
    )
    const port = server.port!
    const get = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    const seen = async (from: "inPod" | "inCaller", host: string, source: string) => {
      const curl = ["curl", "-s", "--max-time", "20", "--interface", source, `http://${host}:${port}/`]
      const child = pod[from](() => Bun.spawn(curl, { stdio: ["ignore", "pipe", "inherit"] }))
      return new Response(child.stdout).text()
    }
    const client = await agent.connect()
    expect(await subscribe(client, stealMatching(port, header("x-user: me")))).toBe("Ok")
    expect(await exchange(pod, pod.ip4, port, get)).toEndWith("10.77.0.1")
    expect(await seen("inPod", "127.0.0.1", "127.0.0.6")).toBe("127.0.0.6")
    expect(await seen("inPod", pod.ip4, "127.0.0.6")).toBe("127.0.0.6")
    expect(await seen("inPod", "127.0.0.1", "127.0.0.1")).toBe("127.0.0.1")
    expect(await seen("inCaller", pod.ip4, "10.77.0.1")).toBe("10.77.0.1")
    client.link.close()
    await server.stop(true)
  })

  test("callers of a port whose application is down are refused, not left hanging", async () => {
    const client = await agent.connect()
    expect(await subscribe(client, mirror(4009))).toBe("Ok")
    const outcome = await call(pod, pod.ip4, 4009).then(
      (caller) => caller.ended.then(() => caller.error),
      // The reset may be there before the caller looks.
      () => "reset",
    )
    expect(outcome).toContain("reset")
    client.link.close()
  })

  test("ten thousand callers that say nothing, or half a request, keep nobody else from being served", async () => {
    // Each takes a descriptor here, and one of the agent; one that says nothing another two, because then the application may.
    const descriptors = Number(/Max open files +\d+ +(\d+)/.exec(await Bun.file("/proc/self/limits").text())?.[1])
    const silent = 1_000
    const count = Math.min(10_000, descriptors - 3 * silent)
    if (count < 10_000) console.warn(`SKIPPED: only ${count} of 10000 callers: ${descriptors} descriptors a process`)
    const app = startApplication(pod, answerWithPath)
    const client = await agent.connect()
    expect(await subscribe(client, stealMatching(app.port, header("x-user: me")))).toBe("Ok")
    const idle: { reset(): void }[] = []
    // In portions that the backlog of the agent's listener can hold.
    for (let from = 0; from < count; from += 500) {
      const portion = await Promise.all(Array.from({ length: 500 }, () => call(pod, pod.ip4, app.port)))
      for (const [index, caller] of portion.entries()) {
        if (from + index >= silent) caller.send("GET /never HTTP/1.1\r\nHost:")
      }
      idle.push(...portion)
    }
    const caller = await call(pod, pod.ip4, app.port)
    caller.send("GET /a HTTP/1.1\r\nHost: a\r\n\r\n")
    await caller.until("app /a")
    caller.send("GET /b HTTP/1.1\r\nHost: a\r\nX-User: me\r\n\r\n")
    expect((await stolenRequest(client)).request.uri).toBe("/b")
    caller.reset()
    for (const { reset } of idle) reset()
    client.link.close()
    app.stop()
  }, 120_000)

  test("an application that dies in the middle of an answer takes only that connection with it", async () => {
    const app = startApplication(pod, (text) => (text ? "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf" : ""))
    const client = await agent.connect()
    expect(await subscribe(client, stealMatching(app.port, header("x-user: me")))).toBe("Ok")
    const [first, second] = [await call(pod, pod.ip4, app.port), await call(pod, pod.ip4, app.port)]
    first.send("GET /a HTTP/1.1\r\nHost: a\r\n\r\n")
    await first.until("half")
    second.send("GET /b HTTP/1.1\r\nHost: a\r\nX-User: me\r\n\r\n")
    expect((await stolenRequest(client)).request.uri).toBe("/b")
    app.stop()
    await first.ended
    expect(first.got).toEndWith("half")
    expect(await client.settle()).toEqual([])
    second.reset()
    client.link.close()
  })
})
