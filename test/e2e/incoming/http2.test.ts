import { afterAll, beforeAll, describe, expect, test } from "bun:test"
import { encodeFrame, encodeHeaders, frameTypes, preface, resetStream } from "../../../agent/incoming/http2/frames.ts"
import { encodeStateless } from "../../../agent/incoming/http2/hpack.ts"
import { type TestClient, within } from "../../../agent/test-agent.ts"
import type { HttpFilter } from "../../../core/protocol/index.ts"
import { type AgentProcess, startAgentProcess } from "./agent-process.ts"
import {
  answer,
  call,
  header,
  headersOf,
  respond,
  startApplication,
  stealMatching,
  stolen,
  stolenRequest,
  subscribe,
  unsubscribe,
} from "./kit.ts"
import { makePod, type Pod, whyNoPods } from "./pod.ts"

const reason = whyNoPods() ?? (Bun.which("node") ? undefined : "Node is missing")
if (reason) console.warn(`SKIPPED: stealing HTTP/2 end to end: ${reason}`)

const port = 8081

/** Answers with path and body length; `x-big` asks for so many bytes more. Ends with gRPC's trailer. */
const application = `
require("http2").createServer().on("stream", (stream, headers) => {
  let length = 0
  stream.on("error", () => {})
  stream.on("data", (bytes) => (length += bytes.length))
  stream.on("end", () => {
    stream.respond({ ":status": 200, "x-from": "app" }, { waitForTrailers: true })
    stream.on("wantTrailers", () => stream.sendTrailers({ "grpc-status": "0" }))
    stream.end("app " + headers[":path"] + " " + length + "z".repeat(Number(headers["x-big"] ?? 0)))
  })
}).listen(${port}, "::", () => console.log("up"))`

/** Sends the requests given as JSON (all at once, or `later`) and prints what each got, without those that are `unanswered`. */
const caller = `
const [host, requests] = [process.argv[1], JSON.parse(process.argv[2])]
const session = require("http2").connect("http://" + host + ":${port}")
const ask = async ({ body, later, unanswered, ...headers }) => {
  await new Promise((resolve) => setTimeout(resolve, later ?? 0))
  const answered = new Promise((resolve) => send(body, headers, resolve))
  return unanswered ? {} : answered
}
const send = (body, headers, resolve) => {
  const request = session.request({ ":path": "/p", ":method": body ? "POST" : "GET", ...headers })
  const got = { length: 0, start: "" }
  request.on("response", (head) => Object.assign(got, { status: head[":status"], from: head["x-from"], cookie: head["set-cookie"] }))
  request.on("trailers", (trailers) => (got.trailer = trailers["grpc-status"]))
  request.on("data", (bytes) => { got.length += bytes.length; if (got.start.length < 12) got.start += bytes.toString() })
  request.on("end", () => resolve({ ...got, start: got.start.slice(0, 12) }))
  request.on("error", (error) => resolve({ error: error.message }))
  request.end(body ? Buffer.alloc(body.bytes ?? 0) + (body.text ?? "").padEnd(body.padded) : undefined)
}
Promise.all(requests.map(ask)).then((all) => { console.log(JSON.stringify(all)); session.destroy() })`

function framesIn(bytes: Buffer): { type: number; flags: number }[] {
  const frames: { type: number; flags: number }[] = []
  for (let at = 0; at + 9 <= bytes.length; at += 9 + bytes.readUIntBE(at, 3)) {
    frames.push({ type: bytes[at + 3]!, flags: bytes[at + 4]! })
  }
  return frames
}

type Got = {
  status?: number
  from?: string
  cookie?: string[]
  length: number
  start: string
  trailer?: string
  error?: string
}

describe.skipIf(reason !== undefined)("HTTP/2 on a port with filters", () => {
  let pod: Pod
  let agent: AgentProcess
  let server: { kill(): void }

  beforeAll(async () => {
    pod = await makePod()
    const started = pod.inPod(() => Bun.spawn(["node", "-e", application], { stdio: ["ignore", "pipe", "inherit"] }))
    await started.stdout.getReader().read()
    server = started
    agent = await startAgentProcess(pod.pid)
  }, 120_000)

  afterAll(async () => {
    server?.kill()
    await agent?.stop()
    pod?.close()
  }, 120_000)

  async function ask(...requests: Record<string, unknown>[]): Promise<Got[]> {
    const child = pod.inCaller(() =>
      Bun.spawn(["node", "-e", caller, pod.ip4, JSON.stringify(requests)], { stdio: ["ignore", "pipe", "inherit"] }),
    )
    return JSON.parse(await new Response(child.stdout).text())
  }

  async function filtered(filter: HttpFilter, run: (client: TestClient) => Promise<void>) {
    const client = await agent.connect()
    expect(await subscribe(client, stealMatching(port, filter))).toBe("Ok")
    await run(client)
    const { promise, resolve } = Promise.withResolvers<void>()
    client.link.receive(({ kind }) => kind === "Pong" && resolve())
    client.send(unsubscribe(port), { kind: "Ping" })
    await within("the end of a subscription", promise)
    client.link.close()
  }

  /** Answers every request with as many bytes as its `x-size` says and a trailer. */
  function serve(client: TestClient): void {
    client.link.receive((message) => {
      if (message.kind !== "TcpSteal" || message.value.kind !== "HttpRequestChunked") return
      const { value: part } = message.value
      if (part.kind !== "StartV2") return
      const { connectionId, request } = part.value
      const size = Number(request.headers.get("x-size")?.[0] ?? 5)
      const frames = [
        { kind: "Data" as const, value: Buffer.alloc(size, "c") },
        { kind: "Trailers" as const, value: headersOf({ "grpc-status": "7" }) },
      ]
      const internalResponse = {
        status: 200,
        version: "HTTP/2.0" as const,
        headers: headersOf({ "x-from": "client" }),
        body: frames,
      }
      client.send(
        respond({ kind: "HttpResponseFramed", value: { port, connectionId, requestId: 0, internalResponse } }),
      )
    })
  }

  test("a shared link leads to its session, or to the application, or says that the session is over", async () => {
    await filtered(header("^baggage: .*mirrord-session=mine"), async (client) => {
      for (const value of ["mine", "other"]) client.send({ kind: "ShareLink", value: { kind: "RegisterKey", value } })
      const asking = ask({ ":path": "/a?mirrord-session=mine&x", baggage: "k=v" })
      const { request, connectionId } = await stolenRequest(client)
      expect(request.uri).toBe(`http://${pod.ip4}:${port}/a?x`)
      expect(request.headers.get("baggage")).toEqual(["k=v,mirrord-session=mine"])
      client.send(answer(connectionId, "ok", { headers: { "x-from": "client" } }))
      const attributes = "Path=/; HttpOnly; SameSite=Lax"
      expect(await asking).toEqual([
        { status: 200, from: "client", length: 2, start: "ok", cookie: [`mirrord-session=mine; ${attributes}`] },
      ])
      const passed = await ask({ ":path": "/b?mirrord-session=other", body: { text: "body" } }, { ":path": "/plain" })
      expect(passed).toMatchObject([
        { start: "app /b 4", from: "app", cookie: [`mirrord-session=other; ${attributes}`], trailer: "0" },
        { start: "app /plain 0", from: "app", trailer: "0" },
      ])
      expect(passed[1]).not.toHaveProperty("cookie")
      const [forgotten] = await ask({ ":path": "/d", cookie: "mirrord-session=gone" })
      expect(forgotten).toMatchObject({ start: "app /d 0", cookie: [`mirrord-session=; ${attributes}; Max-Age=0`] })
      const [over, next] = await ask({ ":path": "/c?mirrord-session=gone" }, { ":path": "/next" })
      expect(over).toMatchObject({
        status: 200,
        start: "<!doctype ht",
        cookie: [`mirrord-session=; ${attributes}; Max-Age=0`],
      })
      expect(next).toMatchObject({ start: "app /next 0" })
    })
  })

  test("a caller that thinks before its first byte is greeted once, by the application that then answers", async () => {
    await filtered(header("x-user: me"), async () => {
      const slow = await call(pod, pod.ip4, port)
      // Longer than the agent waits until it asks whether the application speaks first, as this one does.
      await Bun.sleep(700)
      const request = [
        [":method", "GET"],
        [":scheme", "http"],
        [":authority", "a"],
        [":path", "/late"],
      ] as const
      const block = encodeHeaders(1, encodeStateless(request.map(([name, value]) => [name, value])), true, 16_384)
      slow.send(Buffer.concat([preface, encodeFrame(frameTypes.settings, 0, 0, Buffer.alloc(0)), block]))
      await slow.until("app /late 0")
      const greetings = framesIn(Buffer.from(slow.got, "latin1")).filter(
        ({ type, flags }) => type === frameTypes.settings && flags === 0,
      )
      expect(greetings).toHaveLength(1)
      slow.reset()
    })
  })

  test("a claimed stream is described as mirrord does, with its trailers both ways", async () => {
    await filtered(header("x-user: me"), async (client) => {
      const asking = ask({ "x-user": "me", body: { text: "hello" } })
      const { request, content, connectionId } = await stolenRequest(client)
      expect([request.method, request.uri, request.version, content]).toEqual([
        "POST",
        `http://${pod.ip4}:${port}/p`,
        "HTTP/2.0",
        "hello",
      ])
      expect(request.headers.get("x-user")).toEqual(["me"])
      client.send(answer(connectionId, "ok", { headers: { "x-from": "client", connection: "close" } }))
      expect(await asking).toEqual([{ status: 200, from: "client", length: 2, start: "ok" }])
      expect((await stolen(client)).kind).toBe("Close")
    })
  })

  test("claimed and other streams share a connection, its windows and its compression", async () => {
    await filtered(header("x-user: me"), async (client) => {
      serve(client)
      const requests = Array.from({ length: 40 }, (_, index) => ({
        ...(index % 2 ? { "x-user": "me", "x-size": "200000" } : { "x-user": "you", "x-big": "200000" }),
        ...(index % 3 ? { body: { bytes: 100_000 } } : {}),
      }))
      const got = await ask(...requests)
      for (const [index, { status, from, length, trailer }] of got.entries()) {
        const claimed = index % 2 === 1
        const text = `app /p ${index % 3 ? 100_000 : 0}`
        expect({ status, from, trailer }).toEqual({
          status: 200,
          from: claimed ? "client" : "app",
          trailer: claimed ? "7" : "0",
        })
        expect(length).toBe(claimed ? 200_000 : 200_000 + text.length)
      }
    })
  }, 120_000)

  test("a client that does not read holds up its own requests, not the others of the connection", async () => {
    await filtered(header("x-user: me"), async (client) => {
      client.link.pause()
      const claimed = { "x-user": "me", unanswered: true, body: { bytes: 8_000_000 } }
      const [, passed] = await ask(claimed, { later: 1000, body: { bytes: 1_000_000 } })
      expect(passed).toMatchObject({ status: 200, from: "app", start: "app /p 10000" })
      client.link.resume()
    })
  })

  test("a filter for bodies decides stream by stream", async () => {
    await filtered(
      { kind: "Body", value: { kind: "Json", value: { query: "$.user", matches: "^me$" } } },
      async (client) => {
        serve(client)
        const bodies = ['{"user":"me"}', '{"user":"you"}', "no json", '{"user":"me"}']
        const got = await ask(...bodies.map((text) => ({ body: { text } })), {})
        expect(got.map(({ from }) => from)).toEqual(["client", "app", "app", "client", "app"])
        client.link.receive(() => {})
      },
    )
  })

  const bodyOfMine: HttpFilter = { kind: "Body", value: { kind: "Json", value: { query: "$.user", matches: "^me$" } } }
  const post = (stream: number, path: string) => {
    const fields = [
      [":method", "POST"],
      [":scheme", "http"],
      [":path", path],
      [":authority", "a"],
    ] as const
    return encodeHeaders(stream, encodeStateless(fields), false, 16_384)
  }
  const hello = Buffer.concat([preface, encodeFrame(frameTypes.settings, 0, 0)])

  test("bodies that fill the connection's window together decide all the same, and reach the application whole", async () => {
    await filtered(bodyOfMine, async (client) => {
      serve(client)
      const users = ["me", "me", "you", "you", "you", "you", "me", "you", "me", "you"]
      const got = await ask(...users.map((user) => ({ body: { text: JSON.stringify({ user }), padded: 60_000 } })))
      expect(got.map(({ from, start }) => (from === "app" ? start : from))).toEqual(
        users.map((user) => (user === "me" ? "client" : "app /p 60000")),
      )
      client.link.receive(() => {})
    })
  })

  test("a request whose body is waited for holds up younger ones, not older ones", async () => {
    const limits = { MIRRORD_MAX_BODY_BUFFER_SIZE: "1000", MIRRORD_MAX_BODY_BUFFER_TIMEOUT: "30000" }
    const patient = await startAgentProcess(pod.pid, limits)
    try {
      const client = await patient.connect()
      expect(await subscribe(client, stealMatching(port, bodyOfMine))).toBe("Ok")
      const raw = await call(pod, pod.ip4, port)
      const data = (stream: number, text: string, isLast: boolean) =>
        encodeFrame(frameTypes.data, isLast ? 1 : 0, stream, Buffer.from(text))
      // Too large for the filter: the application's.
      raw.send(Buffer.concat([hello, post(1, "/older"), data(1, "x".repeat(2000), false)]))
      await Bun.sleep(200)
      raw.send(Buffer.concat([post(3, "/younger"), data(3, '{"user":', false), data(1, "the end", true)]))
      await raw.until("app /older 2007")
      raw.send(data(3, '"me"}', true))
      const { request, content } = await stolenRequest(client)
      expect([request.uri, content]).toEqual(["http://a/younger", '{"user":"me"}'])
      raw.reset()
    } finally {
      await patient.stop()
    }
  }, 20_000)

  test("a body that is taken back does not decide about the next one", async () => {
    await filtered(bodyOfMine, async (client) => {
      const raw = await call(pod, pod.ip4, port)
      const first = [post(1, "/first"), encodeFrame(frameTypes.data, 1, 1, Buffer.from("no json")), resetStream(1, 8)]
      raw.send(Buffer.concat([hello, ...first, post(3, "/second")]))
      await Bun.sleep(200)
      raw.send(encodeFrame(frameTypes.data, 1, 3, Buffer.from('{"user":"me"}')))
      const { request, content } = await stolenRequest(client)
      expect([request.uri, content]).toEqual(["http://a/second", '{"user":"me"}'])
      raw.reset()
      client.link.receive(() => {})
    })
  })

  test("claimed streams are answered while the application is down", async () => {
    const client = await agent.connect()
    const free = port + 1
    expect(await subscribe(client, stealMatching(free, header("x-user: me")))).toBe("Ok")
    const raw = await call(pod, pod.ip4, free)
    raw.send(Buffer.concat([preface, encodeFrame(frameTypes.settings, 0, 0), request(1, "me"), request(3, "you")]))
    const { connectionId } = await stolenRequest(client)
    await raw.until("502")
    // Nobody else is left on this connection: it ends with the answer.
    raw.end()
    client.send(answer(connectionId, "still here"))
    expect(await raw.ended).toContain("still here")
    client.link.close()
  })

  test("claimed streams are answered while the application says nothing; when it speaks, all is its own", async () => {
    const settings = encodeFrame(frameTypes.settings, 0, 0)
    const late = port + 2
    // Not a word before it has been asked for something of its own.
    const app = startApplication(
      pod,
      (text) => {
        return text.includes("you")
          ? Buffer.concat([settings, encodeFrame(frameTypes.ping, 0, 0, Buffer.from("app here"))])
          : ""
      },
      { port: late },
    )
    const client = await agent.connect()
    expect(await subscribe(client, stealMatching(late, header("x-user: me")))).toBe("Ok")
    const raw = await call(pod, pod.ip4, late)
    raw.send(Buffer.concat([hello, request(1, "me")]))
    const { connectionId } = await stolenRequest(client)
    client.send(answer(connectionId, "without it"))
    await raw.until("without it")
    const acknowledged = encodeFrame(frameTypes.settings, 1, 0)
    raw.send(Buffer.concat([acknowledged, request(3, "you")]))
    await raw.until("app here")
    expect(framesIn(Buffer.from(raw.got, "latin1")).filter(({ type }) => type === frameTypes.settings)).toHaveLength(2)
    raw.send(acknowledged)
    const acknowledgements = () =>
      framesIn(Buffer.from(app.received[0]!.slice(preface.length), "latin1")).filter(
        ({ type, flags }) => type === frameTypes.settings && flags === 1,
      ).length
    const deadline = performance.now() + 2000
    while (acknowledgements() === 0 && performance.now() < deadline) await Bun.sleep(20)
    await Bun.sleep(100)
    expect(acknowledgements()).toBe(1)
    raw.reset()
    client.link.close()
    app.stop()
  })

  test("who takes back hundreds of claimed requests is told to calm down; the application never sees them", async () => {
    await filtered(header("x-user: me"), async (client) => {
      client.link.receive(() => {})
      const raw = await call(pod, pod.ip4, port)
      const flood = Array.from({ length: 400 }, (_, index) => [
        request(2 * index + 1, "me"),
        resetStream(2 * index + 1, 8),
      ]).flat()
      raw.send(Buffer.concat([preface, encodeFrame(frameTypes.settings, 0, 0), ...flood]))
      await raw.ended
      expect(raw.got).toContain(goingAway(11))
      raw.reset()
      expect((await ask({}))[0]).toMatchObject({ from: "app" })
    })
  })

  test("a stream clients could not be told about goes to the application", async () => {
    await filtered(header("x-user: me"), async (client) => {
      const raw = await call(pod, pod.ip4, port)
      const fields = [
        [":method", "GET"],
        [":scheme", "http"],
        [":path", "/odd`"],
        [":authority", "a"],
        ["x-user", "me"],
      ] as const
      const odd = encodeHeaders(1, encodeStateless(fields), true, 16_384)
      raw.send(Buffer.concat([preface, encodeFrame(frameTypes.settings, 0, 0), odd]))
      await raw.until("app /odd`")
      raw.reset()
      expect(await client.settle()).toEqual([])
    })
  })

  test("an endless header block is cut off", async () => {
    await filtered(header("x-user: me"), async (client) => {
      serve(client)
      const raw = await call(pod, pod.ip4, port)
      raw.send(Buffer.concat([preface, encodeFrame(frameTypes.settings, 0, 0), request(1, "me")]))
      await raw.until("ccccc")
      const open = encodeFrame(frameTypes.headers, 0, 3, encodeStateless([[":method", "GET"]]))
      const more = Array.from({ length: 100 }, () => encodeFrame(frameTypes.continuation, 0, 3, Buffer.alloc(0)))
      raw.send(Buffer.concat([open, ...more]))
      await raw.ended
      expect(raw.got).toContain(goingAway(11))
      raw.reset()
    })
  })

  function request(stream: number, user: string): Buffer {
    const fields = [
      [":method", "GET"],
      [":scheme", "http"],
      [":path", "/raw"],
      [":authority", "a"],
      ["x-user", user],
    ] as const
    return encodeHeaders(stream, encodeStateless(fields), true, 16_384)
  }

  /** The end of a GOAWAY frame with this error. */
  const goingAway = (error: number) => Buffer.from([0, 0, 0, error]).toString("latin1")
})
