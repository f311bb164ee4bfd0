import { afterEach, describe, expect, test } from "bun:test"
import type { ClientMessage, DaemonTcp, HttpBodyFrame, HttpFilter, StealType } from "../../../core/protocol/index.ts"
import type { AgentProcess } from "../incoming/agent-process.ts"
import {
  answerWithPath,
  call,
  exchange,
  header,
  headersOf,
  startApplication,
  type TestApplication,
} from "../incoming/kit.ts"
import { type Pod, whyNoPods } from "../incoming/pod.ts"
import { mirroringWays, onePod } from "../incoming/pods.ts"
import { MirrordClient } from "./mirrord-client.ts"

/* Mirroring and stealing for an unmodified client, in all forms of subscriptions, requests and answers its protocol has. */

const reason = whyNoPods()
if (reason) console.warn(`SKIPPED: an agent and mirrord's client, incoming traffic: ${reason}`)

const get = (path: string, headers = "") => `GET ${path} HTTP/1.1\r\nHost: app\r\n${headers}\r\n`
const post = (path: string, body: string, headers = "") =>
  `POST ${path} HTTP/1.1\r\nHost: app\r\nContent-Length: ${body.length}\r\n${headers}\r\n${body}`
const mine = "X-User: me\r\n"
const ownHeader = header("^x-user: me$")

const steal = (value: StealType): Extract<ClientMessage, { kind: "TcpSteal" }> => ({
  kind: "TcpSteal",
  value: { kind: "PortSubscribe", value },
})
const text = (frames: readonly HttpBodyFrame[]) =>
  frames.map((frame) => (frame.kind === "Data" ? Buffer.from(frame.value).toString() : "")).join("")
const frame = (content: string): HttpBodyFrame => ({ kind: "Data", value: Buffer.from(content) })

describe.skipIf(reason !== undefined).each(mirroringWays)(
  "incoming traffic, mirrored %s, to mirrord's client,",
  (_, env) => {
    let pod: Pod
    let agent: AgentProcess
    let app: TestApplication
    const clients: MirrordClient[] = []

    onePod((made) => ({ pod, agent } = made), env)

    const open = async (version = "1.29.0", seed = 1) => {
      const opened = await MirrordClient.internalProxy({ unix: agent.socketPath }, version, seed)
      clients.push(opened)
      return opened
    }

    const serve = (reply: Parameters<typeof startApplication>[1] = answerWithPath) => {
      app = startApplication(pod, reply)
      return app.port
    }

    afterEach(() => {
      app?.stop()
      for (const each of clients.splice(0)) {
        each.hangUp()
        expect(each.violations).toEqual([])
        expect(each.closed).toBeUndefined()
      }
    })

    /** One request, in the form of the client's version, with its whole body. */
    async function nextRequest(client: MirrordClient, mode: "Tcp" | "TcpSteal" = "TcpSteal") {
      const message = await client.traffic(mode)
      switch (message.kind) {
        case "HttpRequest": {
          const { internalRequest, connectionId } = message.value
          return {
            form: "whole",
            connectionId,
            uri: internalRequest.uri,
            body: Buffer.from(internalRequest.body).toString(),
          }
        }
        case "HttpRequestFramed": {
          const { internalRequest, connectionId } = message.value
          return { form: "framed", connectionId, uri: internalRequest.uri, body: text(internalRequest.body) }
        }
        case "HttpRequestChunked": {
          if (message.value.kind === "StartV1") {
            const { internalRequest, connectionId } = message.value.value
            const rest = await restOf(client, mode)
            return { form: "v1", connectionId, uri: internalRequest.uri, body: text(internalRequest.body) + rest }
          }
          if (message.value.kind !== "StartV2") break
          const { request, connectionId, metadata } = message.value.value
          expect(metadata.value.destination.port).toBe(app.port)
          const rest = request.body.isLast ? "" : await restOf(client, mode)
          return { form: "v2", connectionId, uri: request.uri, body: text(request.body.frames) + rest }
        }
      }
      throw new Error(`expected a request, got ${message.kind}`)
    }

    async function restOf(client: MirrordClient, mode: "Tcp" | "TcpSteal"): Promise<string> {
      for (let body = ""; ; ) {
        const part = await client.traffic(mode)
        if (part.kind !== "HttpRequestChunked" || part.value.kind !== "Body") throw new Error(`no body: ${part.kind}`)
        body += text(part.value.value.frames)
        if (part.value.value.isLast) return body
      }
    }

    const response = <B>(connectionId: bigint, body: B, status = 200, headers: Record<string, string> = {}) => ({
      port: app.port,
      connectionId,
      requestId: 0,
      internalResponse: { status, version: "HTTP/1.1" as const, headers: headersOf(headers), body },
    })

    const framed = (client: MirrordClient, connectionId: bigint, body: string) =>
      client.steal(
        { kind: "HttpResponseFramed", value: response(connectionId, body ? [frame(body)] : []) },
        `request ${connectionId}`,
      )

    const closed = async (client: MirrordClient, connectionId: bigint, mode: "Tcp" | "TcpSteal" = "TcpSteal") =>
      expect(await client.traffic(mode)).toEqual({ kind: "Close", value: { connectionId } })

    // ---- 4.8

    test.each([
      ["1.29.0", "v2"],
      ["1.19.0", "v2"],
      ["1.18.0", "v1"],
      ["1.12.0", "v1"],
      ["1.7.0", "v1"],
      ["1.6.0", "framed"],
      ["1.3.0", "framed"],
      ["1.2.2", "whole"],
    ])("requests for a client of %s come as %s", async (version, form) => {
      const port = serve()
      const client = await open(version)
      expect(await client.subscribe(steal({ kind: "FilteredHttpEx", value: [port, ownHeader] }))).toBe(`Ok ${port}`)
      const caller = await call(pod, pod.ip4, port)
      for (const [index, body] of ["", "a body"].entries()) {
        caller.send(body === "" ? get("/a?b=c", mine) : post("/a?b=c", body, mine))
        const request = await nextRequest(client)
        expect(request).toMatchObject({ form, uri: "/a?b=c", body })
        if (client.supports("httpFramed")) framed(client, request.connectionId, `answer ${index}`)
        else {
          const whole = response(request.connectionId, Buffer.from(`answer ${index}`))
          client.steal({ kind: "HttpResponse", value: whole })
        }
        await caller.until(`answer ${index}`)
        await closed(client, request.connectionId)
      }
      caller.send(get("/other"))
      await caller.until("app /other")
      caller.end()
      await caller.ended
    })

    const body = (query: string, matches: string): HttpFilter => ({
      kind: "Body",
      value: { kind: "Json", value: { query, matches } },
    })
    test.each<[kind: string, filter: HttpFilter, yes: string, no: string]>([
      ["header", ownHeader, get("/x", mine), get("/x", "X-User: you\r\n")],
      ["header with look-around", header("x-user: (?!you)"), get("/x", mine), get("/x", "X-User: you\r\n")],
      ["path", { kind: "Path", value: "^/API" }, get("/api/x"), get("/other")],
      ["path with its query", { kind: "Path", value: "\\?a=1$" }, get("/x?a=1"), get("/x?a=2")],
      ["method", { kind: "Method", value: { kind: "Post" } }, post("/x", "b"), get("/x")],
      [
        "method of its own",
        { kind: "Method", value: { kind: "Other", value: "PURGE" } },
        "PURGE /x HTTP/1.1\r\nHost: app\r\n\r\n",
        get("/x"),
      ],
      ["body", body("$.user.name", "^me$"), post("/x", '{"user":{"name":"me"}}'), post("/x", '{"user":{"name":"Me"}}')],
      ["jq", { kind: "HeaderJq", value: 'startswith("x-user: m")' }, get("/x", mine), get("/x")],
      [
        "all",
        { kind: "Composite", value: { all: true, filters: [ownHeader, { kind: "Path", value: "^/a" }] } },
        get("/a", mine),
        get("/b", mine),
      ],
      [
        "any",
        { kind: "Composite", value: { all: false, filters: [ownHeader, { kind: "Path", value: "^/a" }] } },
        get("/b", mine),
        get("/b"),
      ],
      ["all of nothing", { kind: "Composite", value: { all: true, filters: [] } }, get("/a"), ""],
      ["any of nothing", { kind: "Composite", value: { all: false, filters: [] } }, "", get("/a")],
    ])("the filter %s takes what it means and nothing else", async (_, filter, yes, no) => {
      const port = serve(
        (received, isEnd) => (received.endsWith("}") || isEnd ? "" : answerWithPath(received)) || applied(received),
      )
      const client = await open()
      expect(await client.subscribe(steal({ kind: "FilteredHttpEx", value: [port, filter] }))).toBe(`Ok ${port}`)
      if (no) {
        const caller = await call(pod, pod.ip4, port)
        caller.send(no)
        await caller.until("app /")
        caller.end()
      }
      if (yes) {
        const answered = exchange(pod, pod.ip4, port, yes)
        const request = await nextRequest(client)
        framed(client, request.connectionId, "mine")
        expect(await answered).toEndWith("mine")
        await closed(client, request.connectionId)
      }
      await client.ping()
    })

    const applied = (received: string) => {
      const path = /^[A-Z]+ (\S+)/.exec(received)?.[1]
      return received.includes("\r\n\r\n")
        ? `HTTP/1.1 200 OK\r\ncontent-length: ${4 + path!.length}\r\n\r\napp ${path}`
        : ""
    }

    test("answers in every form, with each request's messages in a queue of its own", async () => {
      const port = serve()
      const client = await open("1.29.0", 77)
      await client.subscribe(steal({ kind: "FilteredHttpEx", value: [port, ownHeader] }))
      const asked = async () => {
        const caller = await call(pod, pod.ip4, port)
        caller.send(get("/", mine))
        return { caller, id: (await nextRequest(client)).connectionId }
      }
      const whole = await asked()
      const streamed = await asked()
      const broken = await asked()
      const given = await asked()
      client.steal({ kind: "HttpResponse", value: response(whole.id, Buffer.from("whole"), 502) }, "whole")
      const start = response(streamed.id, [frame("one ")])
      client.steal({ kind: "HttpResponseChunked", value: { kind: "Start", value: start } }, "streamed")
      for (const [content, isLast] of [
        ["two ", false],
        ["three", false],
        ["", true],
      ] as const) {
        const part = { frames: content ? [frame(content)] : [], isLast, connectionId: streamed.id, requestId: 0 }
        client.steal({ kind: "HttpResponseChunked", value: { kind: "Body", value: part } }, "streamed")
      }
      const begun = response(broken.id, [frame("half")])
      client.steal({ kind: "HttpResponseChunked", value: { kind: "Start", value: begun } }, "broken")
      client.steal(
        { kind: "HttpResponseChunked", value: { kind: "Error", value: { connectionId: broken.id, requestId: 0 } } },
        "broken",
      )
      client.steal({ kind: "ConnectionUnsubscribe", value: given.id })
      await whole.caller.until("whole")
      expect(whole.caller.got).toStartWith("HTTP/1.1 502 ")
      await streamed.caller.until("three")
      await given.caller.until("HTTP/1.1 502 ")
      expect(await broken.caller.ended).not.toContain("0\r\n\r\n")
      const ends = [await client.traffic(), await client.traffic(), await client.traffic()]
      expect(new Set(ends.map((end) => end.kind === "Close" && end.value.connectionId))).toEqual(
        new Set([whole.id, streamed.id, broken.id]),
      )
      // Answers nobody waits for any more.
      framed(client, whole.id, "again")
      framed(client, 4711n, "never")
      await client.ping()
    })

    test.each([1, 2, 3, 4, 5])("an upgrade, with its data maybe before its 101 (order %d)", async (seed) => {
      const port = serve()
      const client = await open("1.29.0", seed)
      await client.subscribe(steal({ kind: "FilteredHttpEx", value: [port, ownHeader] }))
      const caller = await call(pod, pod.ip4, port)
      caller.send(get("/socket", `${mine}Connection: Upgrade\r\nUpgrade: words\r\n`))
      const { connectionId } = await nextRequest(client)
      const upgrade = response(connectionId, [], 101, { connection: "upgrade", upgrade: "words" })
      client.steal({ kind: "HttpResponseFramed", value: upgrade }, "answer")
      client.steal({ kind: "Data", value: { connectionId, bytes: Buffer.from("hello ") } }, "data")
      client.steal({ kind: "Data", value: { connectionId, bytes: Buffer.from("you") } }, "data")
      await caller.until("hello you")
      expect(caller.got).toStartWith("HTTP/1.1 101 ")
      caller.send("me too")
      expect(await client.traffic()).toEqual({ kind: "Data", value: { connectionId, bytes: bytes("me too") } })
      client.steal({ kind: "Data", value: { connectionId, bytes: new Uint8Array() } }, "data")
      await caller.ended
      caller.end()
      expect(await client.traffic()).toEqual({ kind: "Data", value: { connectionId, bytes: bytes("") } })
      await closed(client, connectionId)
    })

    test("an upgrade is left to the application for a client of 1.4.0, which is told", async () => {
      const port = serve()
      const client = await open("1.4.0")
      await client.subscribe(steal({ kind: "FilteredHttpEx", value: [port, ownHeader] }))
      const caller = await call(pod, pod.ip4, port)
      caller.send(get("/socket", `${mine}Connection: Upgrade\r\nUpgrade: words\r\n`))
      await caller.until("app /socket")
      await client.ping()
      expect(client.logs.join()).toContain("Error: ")
      caller.end()
    })

    test("the caller's early end is told, and the client's end answered with 502", async () => {
      const port = serve()
      const client = await open()
      await client.subscribe(steal({ kind: "FilteredHttpEx", value: [port, ownHeader] }))
      const caller = await call(pod, pod.ip4, port)
      caller.send(get("/", mine))
      const { connectionId } = await nextRequest(client)
      caller.reset()
      await closed(client, connectionId)
      const second = await call(pod, pod.ip4, port)
      second.send(get("/", mine))
      await nextRequest(client)
      client.hangUp()
      await second.until("HTTP/1.1 502 ")
    })

    test("of two clients whose filters match one gets the request, and the other a warning", async () => {
      const port = serve()
      const [one, two] = [await open(), await open()]
      for (const each of [one, two]) {
        expect(await each.subscribe(steal({ kind: "FilteredHttpEx", value: [port, ownHeader] }))).toBe(`Ok ${port}`)
      }
      const answered = exchange(pod, pod.ip4, port, get("/", mine))
      const winner = await Promise.any([one, two].map(async (each) => ({ each, request: await nextRequest(each) })))
      framed(winner.each, winner.request.connectionId, "mine")
      expect(await answered).toEndWith("mine")
      const loser = winner.each === one ? two : one
      await loser.ping()
      expect(loser.logs.join()).toStartWith("Warn: ")
      expect(winner.each.logs).toEqual([])
    })

    // ---- 4.7

    test.each(["1.29.0", "1.19.0", "1.2.2"])("whole connections for a client of %s", async (version) => {
      const port = serve(() => "from the application")
      const client = await open(version)
      expect(await client.subscribe(steal({ kind: "All", value: port }))).toBe(`Ok ${port}`)
      const caller = await call(pod, pod.ip4, port)
      caller.send("question")
      const begun = await client.traffic()
      const connection = connectionOf(begun)
      expect(begun.kind).toBe(client.supports("modeAgnosticHttp") ? "NewConnectionV2" : "NewConnectionV1")
      expect(connection).toMatchObject({ destinationPort: port, localAddress: pod.ip4, remoteAddress: "10.77.0.1" })
      const { connectionId } = connection
      expect(await client.traffic()).toEqual({ kind: "Data", value: { connectionId, bytes: bytes("question") } })
      caller.end()
      expect(await client.traffic()).toEqual({ kind: "Data", value: { connectionId, bytes: bytes("") } })
      client.steal({ kind: "Data", value: { connectionId, bytes: Buffer.from("answer") } }, "connection")
      client.steal({ kind: "Data", value: { connectionId, bytes: new Uint8Array() } }, "connection")
      expect(await caller.ended).toBe("answer")
      await closed(client, connectionId)
      // The other way round: both ends are told, whoever comes first.
      const patient = await call(pod, pod.ip4, port)
      const { connectionId: third } = connectionOf(await client.traffic())
      client.steal({ kind: "Data", value: { connectionId: third, bytes: new Uint8Array() } }, "connection")
      await patient.ended
      patient.end()
      expect(await client.traffic()).toEqual({ kind: "Data", value: { connectionId: third, bytes: bytes("") } })
      await closed(client, third)
      // The local side gives up: the caller's connection ends, and nothing is answered.
      const second = await call(pod, pod.ip4, port)
      const { connectionId: other } = connectionOf(await client.traffic())
      expect(other).not.toBe(connectionId)
      client.steal({ kind: "ConnectionUnsubscribe", value: other })
      await second.ended
      await client.ping()
      client.steal({ kind: "PortUnsubscribe", value: port })
      await client.ping()
      expect(await exchange(pod, pod.ip4, port, "x")).toContain("from the application")
    })

    test("a second steal of all replaces the first, and both are told Ok", async () => {
      const port = serve()
      const [one, two] = [await open(), await open()]
      for (const each of [one, two])
        expect(await each.subscribe(steal({ kind: "All", value: port }))).toBe(`Ok ${port}`)
      await call(pod, pod.ip4, port)
      expect(connectionOf(await two.traffic()).destinationPort).toBe(port)
      await one.ping()
    })

    // ---- 4.6

    test.each(["1.29.0", "1.19.0", "1.2.2"])("copies of connections for a client of %s", async (version) => {
      const port = serve()
      const client = await open(version)
      expect(await client.subscribe({ kind: "Tcp", value: { kind: "PortSubscribe", value: port } })).toBe(`Ok ${port}`)
      const answer = await exchange(pod, pod.ip4, port, get("/seen"))
      expect(answer).toContain("app /seen")
      const { connectionId, destinationPort } = connectionOf(await client.traffic("Tcp"))
      expect(destinationPort).toBe(port)
      let seen = ""
      for (let ended = false; ; ) {
        const message = await client.traffic("Tcp")
        if (message.kind === "Data" && message.value.bytes.length > 0) seen += Buffer.from(message.value.bytes)
        else if (message.kind === "Data") ended = true
        else {
          expect(ended).toBe(true)
          expect(message).toEqual({ kind: "Close", value: { connectionId } })
          break
        }
      }
      expect(seen).toBe(get("/seen"))
      client.mirror({ kind: "ConnectionUnsubscribe", value: connectionId })
      client.mirror({ kind: "PortUnsubscribe", value: port })
      await client.ping()
    })

    test("copies of matching requests only", async () => {
      const port = serve()
      const client = await open()
      const value = { kind: "PortSubscribeFilteredHttp", value: [port, ownHeader] } satisfies DaemonTcpRequest
      expect(await client.subscribe({ kind: "Tcp", value })).toBe(`Ok ${port}`)
      expect(await exchange(pod, pod.ip4, port, get("/other"))).toContain("app /other")
      expect(await exchange(pod, pod.ip4, port, get("/mine", mine))).toContain("app /mine")
      const request = await nextRequest(client, "Tcp")
      expect(request).toMatchObject({ form: "v2", uri: "/mine" })
      await closed(client, request.connectionId, "Tcp")
    })

    test.each([
      ["a character", "/a<b>"],
      ["two ports", "http://app:1:2/a"],
    ])("a request whose URI has %s no client can read is left to the application", async (_, uri) => {
      const port = serve(applied)
      const [thief, watcher] = [await open(), await open()]
      await thief.subscribe(steal({ kind: "FilteredHttpEx", value: [port, ownHeader] }))
      const value = { kind: "PortSubscribeFilteredHttp", value: [port, ownHeader] } satisfies DaemonTcpRequest
      await watcher.subscribe({ kind: "Tcp", value })
      const caller = await call(pod, pod.ip4, port)
      caller.send(get(uri, mine))
      await caller.until("app ")
      caller.end()
      await Promise.all([thief.ping(), watcher.ping()])
    })

    test("one client steals what another mirrors", async () => {
      const port = serve()
      const [thief, watcher] = [await open(), await open()]
      await thief.subscribe(steal({ kind: "All", value: port }))
      await watcher.subscribe({ kind: "Tcp", value: { kind: "PortSubscribe", value: port } })
      const caller = await call(pod, pod.ip4, port)
      caller.send("x")
      const { connectionId } = connectionOf(await thief.traffic())
      connectionOf(await watcher.traffic("Tcp"))
      expect(await watcher.traffic("Tcp")).toMatchObject({ kind: "Data", value: { bytes: bytes("x") } })
      thief.steal({ kind: "Data", value: { connectionId, bytes: Buffer.from("stolen") } })
      await caller.until("stolen")
    })
  },
)

type DaemonTcpRequest = Extract<ClientMessage, { kind: "Tcp" }>["value"]

const bytes = (content: string) => new Uint8Array(Buffer.from(content))

function connectionOf(message: DaemonTcp) {
  if (message.kind === "NewConnectionV1") return message.value
  if (message.kind !== "NewConnectionV2") throw new Error(`expected a connection, got ${message.kind}`)
  expect(message.value.transport).toEqual({ kind: "Tcp" })
  return message.value.connection
}
