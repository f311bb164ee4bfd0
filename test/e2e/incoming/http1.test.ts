import { describe, expect, test } from "bun:test"
import type { TestClient } from "../../../agent/test-agent.ts"
import type { HttpFilter, LayerTcpSteal } from "../../../core/protocol/index.ts"
import type { AgentProcess } from "./agent-process.ts"
import {
  answer,
  answerWithPath,
  call,
  data,
  exchange,
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
import { type Pod, whyNoPods } from "./pod.ts"
import { onePod } from "./pods.ts"

const reason = whyNoPods()
if (reason) console.warn(`SKIPPED: stealing HTTP/1 end to end: ${reason}`)

const get = (path: string, headers = "") => `GET ${path} HTTP/1.1\r\nHost: app\r\n${headers}\r\n`
const mine = "X-User: me\r\n"

describe.skipIf(reason !== undefined)("HTTP/1 on a port with filters", () => {
  let pod: Pod
  let agent: AgentProcess
  let client: TestClient

  onePod((made) => ({ pod, agent } = made))

  /** An application of its own port, stolen with `filter` for the length of `run`. */
  async function filtered(
    filter: HttpFilter,
    run: (port: number, received: string[]) => Promise<void>,
    reply = answerWithPath,
  ) {
    const app = startApplication(pod, reply)
    client = await agent.connect()
    expect(await subscribe(client, stealMatching(app.port, filter))).toBe("Ok")
    try {
      await run(app.port, app.received)
    } finally {
      client.link.close()
      app.stop()
    }
  }

  test("a matching request goes to the client, the next one on the same connection to the application", async () => {
    await filtered(header("^x-user: me$"), async (port, received) => {
      const caller = await call(pod, pod.ip4, port)
      caller.send(get("/one", mine))
      const request = await stolenRequest(client)
      expect([request.request.method, request.request.uri, request.request.version]).toEqual([
        "GET",
        "/one",
        "HTTP/1.1",
      ])
      expect(request.request.headers).toEqual(headersOf({ host: "app", "x-user": "me" }))
      expect(request.metadata.value.destination).toEqual({ ip: pod.ip4, port })
      client.send(answer(request.connectionId, "from the client", { headers: { "content-type": "text/plain" } }))
      await caller.until("from the client")
      expect(caller.got).toStartWith("HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\n")
      expect(await stolen(client)).toEqual({ kind: "Close", value: { connectionId: request.connectionId } })
      caller.send(get("/two"))
      await caller.until("app /two")
      expect(received).toEqual([get("/two")])
      caller.end()
      await caller.ended
    })
  })

  test("pipelined requests of both kinds are answered in their order", async () => {
    await filtered(header("x-user: me"), async (port) => {
      const caller = await call(pod, pod.ip4, port)
      caller.send(get("/a") + get("/b", mine) + get("/c") + get("/d", mine) + get("/e"))
      for (const path of ["/b", "/d"]) {
        const request = await stolenRequest(client)
        expect(request.request.uri).toBe(path)
        client.send(answer(request.connectionId, `client ${path}`))
        expect((await stolen(client)).kind).toBe("Close")
      }
      await caller.until("app /e")
      expect(caller.got.match(/(app|client) \/[a-e]/g)).toEqual([
        "app /a",
        "client /b",
        "app /c",
        "client /d",
        "app /e",
      ])
      caller.end()
      await caller.ended
    })
  })

  test.each([["bc"], ["ba"], ["bd"], ["ab"], ["abcd"], ["bdac"]])(
    "a caller that ends behind its pipelined requests has them all answered (%s)",
    async (paths) => {
      await filtered(header("x-user: me"), async (port) => {
        const isMine = (path: string) => "bd".includes(path)
        const caller = await call(pod, pod.ip4, port)
        caller.send([...paths].map((path) => get(`/${path}`, isMine(path) ? mine : "")).join(""))
        caller.end()
        for (const path of [...paths].filter(isMine)) {
          const request = await stolenRequest(client)
          expect(request.request.uri).toBe(`/${path}`)
          await Bun.sleep(20)
          client.send(answer(request.connectionId, `client /${path}`))
          expect((await stolen(client)).kind).toBe("Close")
        }
        const got = await caller.ended
        expect([...(got.match(/(app|client) \/[a-e]/g) ?? [])]).toEqual(
          [...paths].map((path) => (isMine(path) ? `client /${path}` : `app /${path}`)),
        )
        expect(caller.error).toBeUndefined()
      })
    },
  )

  test("a chunked body arrives decoded at the client, and byte for byte at the application", async () => {
    const chunked = "Transfer-Encoding: chunked\r\n"
    const body = "5;x=y\r\nhello\r\n6\r\n world\r\n0\r\nX-Sum: 1\r\n\r\n"
    const post = (headers: string) => `POST /p HTTP/1.1\r\nHost: app\r\n${chunked}${headers}\r\n${body}`
    const reply = (text: string) =>
      text.endsWith("\r\n\r\n") && text.includes("0\r\n") ? "HTTP/1.1 204 No Content\r\n\r\n" : ""
    await filtered(
      header("x-user: me"),
      async (port, received) => {
        const caller = await call(pod, pod.ip4, port)
        for (const character of post(mine)) caller.send(character)
        const request = await stolenRequest(client)
        expect(request.content).toBe("hello world")
        expect(request.trailers).toEqual({ kind: "Trailers", value: headersOf({ "x-sum": "1" }) })
        client.send(answer(request.connectionId, "ok"))
        await caller.until("ok")
        await stolen(client)
        caller.send(post(""))
        await caller.until("204")
        expect(received).toEqual([post("")])
        caller.end()
        await caller.ended
      },
      reply,
    )
  })

  test("whoever waits for 100 Continue is told to go on", async () => {
    await filtered(header("x-user: me"), async (port) => {
      const caller = await call(pod, pod.ip4, port)
      caller.send(`POST / HTTP/1.1\r\nHost: app\r\nContent-Length: 4\r\nExpect: 100-continue\r\n${mine}\r\n`)
      await caller.until("HTTP/1.1 100 Continue\r\n\r\n")
      caller.send("body")
      const request = await stolenRequest(client)
      expect(request.content).toBe("body")
      client.send(answer(request.connectionId, "done"))
      await caller.until("done")
      await stolen(client)
      caller.end()
      await caller.ended
    })
  })

  test("an upgraded connection carries bytes both ways, and early data of the client is kept", async () => {
    await filtered(header("x-user: me"), async (port) => {
      const caller = await call(pod, pod.ip4, port)
      caller.send(get("/ws", `Connection: Upgrade\r\nUpgrade: websocket\r\n${mine}`))
      const { connectionId } = await stolenRequest(client)
      client.send(data(connectionId, "early"))
      const switching = { status: 101, headers: { connection: "upgrade", upgrade: "websocket" } }
      client.send(answer(connectionId, "", switching))
      await caller.until("early")
      expect(caller.got).toStartWith(
        "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\nearly",
      )
      caller.send("ping")
      expect(await stolen(client)).toMatchObject({
        kind: "Data",
        value: { bytes: new Uint8Array(Buffer.from("ping")) },
      })
      caller.end()
      expect(await stolen(client)).toMatchObject({ kind: "Data", value: { bytes: new Uint8Array() } })
      client.send(data(connectionId, "last"), data(connectionId, ""))
      expect(await caller.ended).toEndWith("earlylast")
      expect((await stolen(client)).kind).toBe("Close")
    })
  })

  test("of an upgraded connection whose client is gone nothing is swallowed: what the caller sends is refused", async () => {
    await filtered(header("x-user: me"), async (port) => {
      const caller = await call(pod, pod.ip4, port)
      caller.send(get("/ws", `Connection: Upgrade\r\nUpgrade: websocket\r\n${mine}`))
      const { connectionId } = await stolenRequest(client)
      const switching = { status: 101, headers: { connection: "upgrade", upgrade: "websocket" } }
      client.send(answer(connectionId, "", switching), data(connectionId, "last"))
      await caller.until("last")
      client.link.close()
      await caller.ended
      for (let round = 0; round < 50 && caller.error === undefined; round++) {
        caller.send("ping")
        await Bun.sleep(10)
      }
      expect(caller.error).toBeDefined()
    })
  })

  test("what a caller says before its upgrade is agreed to is the first the client hears, and its end the last", async () => {
    await filtered(header("x-user: me"), async (port) => {
      const caller = await call(pod, pod.ip4, port)
      caller.send(`${get("/ws", `Connection: Upgrade\r\nUpgrade: websocket\r\n${mine}`)}hello`)
      const { connectionId } = await stolenRequest(client)
      caller.send(" again")
      caller.end()
      await Bun.sleep(100)
      client.send(answer(connectionId, "", { status: 101, headers: { connection: "upgrade", upgrade: "websocket" } }))
      let heard = ""
      for (let bytes: Uint8Array | undefined; bytes?.length !== 0; heard += Buffer.from(bytes)) {
        const message = await stolen(client)
        if (message.kind !== "Data") throw new Error(`not data, but ${message.kind}`)
        bytes = message.value.bytes
      }
      expect(heard).toBe("hello again")
      client.send(data(connectionId, "last"), data(connectionId, ""))
      expect(await caller.ended).toEndWith("last")
    })
  })

  test("a client that sends on and on without an answer is let go of, not kept in memory", async () => {
    await filtered(header("x-user: me"), async (port) => {
      const caller = await call(pod, pod.ip4, port)
      caller.send(get("/ws", `Connection: Upgrade\r\nUpgrade: websocket\r\n${mine}`))
      const { connectionId } = await stolenRequest(client)
      for (let sent = 0; sent < 32; sent++) client.send(data(connectionId, Buffer.alloc(64 << 10)))
      expect(await caller.ended).toStartWith("HTTP/1.1 502 ")
      expect(await stolen(client)).toEqual({ kind: "Close", value: { connectionId } })
    })
  })

  test("an upgrade nobody claims becomes the application's, bytes and all", async () => {
    const reply = (text: string) =>
      text.endsWith("\r\n\r\n") ? "HTTP/1.1 101 Switching Protocols\r\n\r\n" : `[${text}]`
    await filtered(
      header("x-user: me"),
      async (port) => {
        const caller = await call(pod, pod.ip4, port)
        caller.send(get("/ws", "Connection: Upgrade\r\nUpgrade: x\r\n"))
        await caller.until("101")
        caller.send(get("/", mine).slice(0, -2))
        await caller.until(`[${get("/", mine).slice(0, -2)}]`)
        caller.end()
        await caller.ended
      },
      reply,
    )
  })

  const forms: [string, (id: bigint) => LayerTcpSteal[], string][] = [
    [
      "whole",
      (connectionId) => [
        {
          kind: "HttpResponse",
          value: {
            port: 0,
            connectionId,
            requestId: 0,
            internalResponse: { status: 202, version: "HTTP/1.1", headers: new Map(), body: Buffer.from("whole") },
          },
        },
      ],
      "content-length: 5\r\n\r\nwhole",
    ],
    [
      "in parts",
      (connectionId) => [
        {
          kind: "HttpResponseChunked",
          value: {
            kind: "Start",
            value: {
              port: 0,
              connectionId,
              requestId: 0,
              internalResponse: {
                status: 200,
                version: "HTTP/1.1",
                headers: headersOf({ "transfer-encoding": "chunked" }),
                body: [{ kind: "Data", value: Buffer.from("one") }],
              },
            },
          },
        },
        {
          kind: "HttpResponseChunked",
          value: {
            kind: "Body",
            value: {
              connectionId,
              requestId: 0,
              isLast: true,
              frames: [
                { kind: "Data", value: Buffer.from("two") },
                { kind: "Trailers", value: headersOf({ "x-end": "1" }) },
              ],
            },
          },
        },
      ],
      "transfer-encoding: chunked\r\n\r\n3\r\none\r\n3\r\ntwo\r\n0\r\nx-end: 1\r\n\r\n",
    ],
  ]
  test.each(forms)("an answer that comes %s", async (_, messages, expected) => {
    await filtered(header("x-user: me"), async (port) => {
      const caller = await call(pod, pod.ip4, port)
      caller.send(get("/", mine))
      const { connectionId } = await stolenRequest(client)
      client.send(...messages(connectionId).map(respond))
      await caller.until(expected)
      await stolen(client)
      caller.end()
      await caller.ended
    })
  })

  test("an answer that breaks off is not taken for a whole one", async () => {
    await filtered(header("x-user: me"), async (port) => {
      const caller = await call(pod, pod.ip4, port)
      caller.send(get("/", mine))
      const { connectionId } = await stolenRequest(client)
      const start = forms[1]![1](connectionId)[0]!
      client.send(
        respond(start),
        respond({ kind: "HttpResponseChunked", value: { kind: "Error", value: { connectionId, requestId: 0 } } }),
      )
      await caller.ended
      expect(caller.got).not.toContain("0\r\n\r\n")
      expect(caller.error).toContain("reset")
      await stolen(client)
    })
  })

  test("a request its client lets go of is answered with 502", async () => {
    await filtered(header("x-user: me"), async (port) => {
      const caller = await call(pod, pod.ip4, port)
      caller.send(get("/", mine))
      const { connectionId } = await stolenRequest(client)
      client.send({ kind: "TcpSteal", value: { kind: "ConnectionUnsubscribe", value: connectionId } })
      expect(await caller.ended).toStartWith("HTTP/1.1 502 ")
    })
  })

  test("a caller that leaves ends its request at the client", async () => {
    await filtered(header("x-user: me"), async (port) => {
      const caller = await call(pod, pod.ip4, port)
      caller.send(get("/", mine))
      const { connectionId } = await stolenRequest(client)
      caller.reset()
      expect(await stolen(client)).toEqual({ kind: "Close", value: { connectionId } })
    })
  })

  test("claimed requests are answered while the application is down; others get 502", async () => {
    const client = await agent.connect()
    const app = startApplication(pod, answerWithPath)
    app.stop()
    expect(await subscribe(client, stealMatching(app.port, header("x-user: me")))).toBe("Ok")
    const caller = await call(pod, pod.ip4, app.port)
    caller.send(get("/", mine))
    const { connectionId } = await stolenRequest(client)
    client.send(answer(connectionId, "up"))
    await caller.until("up")
    await stolen(client)
    caller.send(get("/"))
    expect(await caller.ended).toContain("HTTP/1.1 502 ")
    client.send(unsubscribe(app.port))
  })

  // Each row would be read differently by somebody: nobody but the application may read it.
  test.each([
    [
      "a length and a transfer encoding",
      "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\nX-User: me\r\n\r\n0\r\n\r\nX",
    ],
    ["two lengths", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nContent-Length: 5\r\nX-User: me\r\n\r\nabcde"],
    ["a list of lengths", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4, 4\r\nX-User: me\r\n\r\nabcd"],
    ["a signed length", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +4\r\nX-User: me\r\n\r\nabcd"],
    ["an unknown coding", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\nX-User: me\r\n\r\n0\r\n\r\n"],
    [
      "two codings",
      "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity, chunked\r\nX-User: me\r\n\r\n0\r\n\r\n",
    ],
    ["chunks in HTTP/1.0", "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\nX-User: me\r\n\r\n0\r\n\r\n"],
    ["a folded line", "GET / HTTP/1.1\r\nHost: a\r\nX-A: b\r\n c\r\nX-User: me\r\n\r\n"],
    ["bare line feeds", "GET / HTTP/1.1\nHost: a\nX-User: me\n\n"],
    ["one bare line feed", "GET / HTTP/1.1\r\nHost: a\nX-User: me\r\n\r\n"],
    ["a bare carriage return", "GET / HTTP/1.1\r\nHost: a\rb\r\nX-User: me\r\n\r\n"],
    ["space before the colon", "GET / HTTP/1.1\r\nHost: a\r\nX-User : me\r\nX-User: me\r\n\r\n"],
    ["a NUL", "GET / HTTP/1.1\r\nHost: a\0\r\nX-User: me\r\n\r\n"],
    ["two hosts", "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\nX-User: me\r\n\r\n"],
    ["no host", "GET / HTTP/1.1\r\nX-User: me\r\n\r\n"],
    ["an empty line first", "\r\nGET / HTTP/1.1\r\nHost: a\r\nX-User: me\r\n\r\n"],
    ["another version", "GET / HTTP/1.2\r\nHost: a\r\nX-User: me\r\n\r\n"],
    ["no HTTP at all", "*1\r\n$4\r\nX-User: me\r\n\r\n"],
    ["a tunnel", "CONNECT a:1 HTTP/1.1\r\nHost: a\r\nX-User: me\r\n\r\n"],
    ["half a request", "GET / HTTP/1.1\r\nHost: a\r\nX-User: me\r\n"],
  ])("%s: the application gets every byte, the client nothing", async (_, bytes) => {
    await filtered(
      header("x-user: me"),
      async (port, received) => {
        const caller = await call(pod, pod.ip4, port)
        caller.send(bytes)
        caller.end()
        expect(await caller.ended).toBe("bye")
        expect(received).toEqual([bytes])
        expect(await client.settle()).toEqual([])
      },
      (_text, isEnd?: boolean) => (isEnd ? "bye" : ""),
    )
  })

  test.each(["/a<b", '/a"b', "/a`b", "/caf\xe9", "a", "http:/x", "http://a<b/"])(
    "a target clients could not be told about, %s, goes to the application",
    async (target) => {
      await filtered(header("x-user: me"), async (port, received) => {
        const caller = await call(pod, pod.ip4, port)
        caller.send(get(target, mine) + get("/claimed", mine))
        const { request, connectionId } = await stolenRequest(client)
        expect(request.uri).toBe("/claimed")
        expect(received).toEqual([get(target, mine)])
        client.send(answer(connectionId, "claimed"))
        await caller.until("claimed")
        caller.reset()
      })
    },
  )

  test("a request behind a smuggling one is not claimed either", async () => {
    const odd = "POST /odd HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n"
    await filtered(header("x-user: me"), async (port, received) => {
      const caller = await call(pod, pod.ip4, port)
      caller.send(get("/first"))
      await caller.until("app /first")
      caller.send(odd)
      caller.send(get("/behind", mine))
      await caller.until("app /behind")
      expect(received.join("")).toBe(get("/first") + odd + get("/behind", mine))
      caller.end()
      await caller.ended
    })
  })

  test("a broken chunk in a claimed body ends the connection with 400", async () => {
    await filtered(header("x-user: me"), async (port) => {
      const caller = await call(pod, pod.ip4, port)
      caller.send(`POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n${mine}\r\n5\r\nhello\r\n`)
      const start = await stolen(client)
      expect(start.kind).toBe("HttpRequestChunked")
      caller.send("zz\r\n")
      expect(await caller.ended).toStartWith("HTTP/1.1 400 ")
      expect((await stolen(client)).kind).toBe("Close")
    })
  })

  test("an application that speaks first is heard at once", async () => {
    const client = await agent.connect()
    const app = startApplication(pod, (text) => (text.endsWith("\n") ? `you said ${text}` : ""), {
      speaksFirst: "220 hello\r\n",
    })
    expect(await subscribe(client, stealMatching(app.port, header("x")))).toBe("Ok")
    const caller = await call(pod, pod.ip4, app.port)
    await caller.until("220 hello")
    caller.send("HELO me\n")
    await caller.until("you said HELO me")
    caller.end()
    await caller.ended
    client.send(unsubscribe(app.port))
    app.stop()
  })

  const filters: [string, HttpFilter, string, string][] = [
    ["a path", { kind: "Path", value: "^/api/" }, get("/API/x"), get("/other")],
    ["a path with its query", { kind: "Path", value: "page=1$" }, get("/x?page=1"), get("/x?page=2")],
    ["a method", { kind: "Method", value: { kind: "Delete" } }, get("/").replace("GET", "DELETE"), get("/")],
    [
      "another method",
      { kind: "Method", value: { kind: "Other", value: "purge" } },
      get("/").replace("GET", "PURGE"),
      get("/"),
    ],
    ["look-around", header("^x-user: (?!you)"), get("/", mine), get("/", "X-User: you\r\n")],
    [
      "all of several",
      { kind: "Composite", value: { all: true, filters: [header("x-user: me"), { kind: "Path", value: "^/a" }] } },
      get("/a", mine),
      get("/b", mine),
    ],
    [
      "any of several, nested",
      {
        kind: "Composite",
        value: {
          all: false,
          filters: [
            header("nope"),
            { kind: "Composite", value: { all: true, filters: [{ kind: "Path", value: "/a$" }] } },
          ],
        },
      },
      get("/a"),
      get("/b"),
    ],
    [
      "JSON in the body",
      { kind: "Body", value: { kind: "Json", value: { query: "$.user[?@.age > 3].name", matches: "^Al" } } },
      post('{"user":[{"age":1,"name":"x"},{"age":9,"name":"Alice"}]}'),
      post('{"user":[{"age":1,"name":"Alice"}]}'),
    ],
  ]
  test.each(filters)("a filter for %s", async (_, filter, matching, other) => {
    await filtered(
      filter,
      async (port, received) => {
        const caller = await call(pod, pod.ip4, port)
        caller.send(matching)
        const { connectionId, content } = await stolenRequest(client)
        expect(matching).toEndWith(content)
        client.send(answer(connectionId, "claimed"))
        await caller.until("claimed")
        await stolen(client)
        caller.send(other)
        await caller.until("passed")
        expect(received).toEqual([other])
        caller.end()
        await caller.ended
      },
      () => "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npassed",
    )
  })

  test("a body that is too large or too slow for its filter goes to the application as it is", async () => {
    const filter: HttpFilter = { kind: "Body", value: { kind: "Json", value: { query: "$.a", matches: "" } } }
    const large = post(`{"a":"${"x".repeat(70_000)}"}`)
    const reply = (text: string) =>
      text.length >= Math.min(large.length, 200) && !text.endsWith('"x')
        ? "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
        : ""
    await filtered(
      filter,
      async (port, received) => {
        const caller = await call(pod, pod.ip4, port)
        caller.send(large)
        await caller.until("200")
        caller.reset()
        const slow = await call(pod, pod.ip4, port)
        slow.send(post(`{"a":"${"y".repeat(300)}"}`).slice(0, -2))
        await slow.until("200")
        expect(received.map((text) => text.length)).toEqual([
          large.length,
          post(`{"a":"${"y".repeat(300)}"}`).length - 2,
        ])
        slow.reset()
      },
      reply,
    )
  })

  test("a filter that cannot be compiled is refused, and the client is told why", async () => {
    const other = await agent.connect()
    other.send(stealMatching(1, header("(")))
    const message = await other.next()
    expect(message).toMatchObject({ kind: "Close" })
    expect(String(message.kind === "Close" && message.value)).toContain('"("')
    other.link.close()
  })

  test("an old client gets its requests in the old forms", async () => {
    for (const [version, kind] of [
      ["1.2.5", "HttpRequest"],
      ["1.5.0", "HttpRequestFramed"],
      ["1.8.0", "HttpRequestChunked"],
    ] as const) {
      const old = await agent.connect(version)
      const app = startApplication(pod, answerWithPath)
      expect(await subscribe(old, stealMatching(app.port, header("x-user: me")))).toBe("Ok")
      const caller = await call(pod, pod.ip4, app.port)
      caller.send(`POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n${mine}\r\nab`)
      const request = await stolen(old)
      expect(request.kind).toBe(kind)
      if (request.kind === "HttpRequestChunked") {
        expect(request.value.kind).toBe("StartV1")
        expect(await stolen(old)).toMatchObject({ value: { kind: "Body", value: { isLast: true } } })
      }
      old.send(answer(0n, "answered"))
      await caller.until("answered")
      caller.reset()
      old.link.close()
      app.stop()
    }
  })

  test("of two clients whose filters match the first gets the request, and the other is told", async () => {
    const second = await agent.connect()
    await filtered(header("x-user: me"), async (port) => {
      expect(await subscribe(second, stealMatching(port, header("x-user: .*")))).toBe("Ok")
      const caller = await call(pod, pod.ip4, port)
      caller.send(get("/both", mine))
      const { connectionId } = await stolenRequest(client)
      expect(await second.next()).toMatchObject({ kind: "LogMessage", value: { level: { kind: "Warn" } } })
      client.send(answer(connectionId, "first"))
      await caller.until("first")
      await stolen(client)
      caller.send(get("/one", "X-User: other\r\n"))
      const theirs = await stolenRequest(second)
      second.send(answer(theirs.connectionId, "second"))
      await caller.until("second")
      caller.reset()
    })
    second.link.close()
  })

  test("of two clients with the very same filter the last one gets the request: it is one that came back", async () => {
    const second = await agent.connect()
    await filtered(header("x-user: me"), async (port) => {
      expect(await subscribe(second, stealMatching(port, header("x-user: me")))).toBe("Ok")
      const caller = await call(pod, pod.ip4, port)
      caller.send(get("/both", mine))
      const { connectionId } = await stolenRequest(second)
      second.send(answer(connectionId, "second"))
      await caller.until("second")
      expect(await client.next()).toMatchObject({ kind: "LogMessage", value: { level: { kind: "Warn" } } })
      caller.reset()
    })
    second.link.close()
  })

  test("once nobody filters any more, open connections still reach the application", async () => {
    const client = await agent.connect()
    const app = startApplication(pod, answerWithPath)
    expect(await subscribe(client, stealMatching(app.port, header("x-user: me")))).toBe("Ok")
    const caller = await call(pod, pod.ip4, app.port)
    caller.send(get("/before"))
    await caller.until("app /before")
    client.send(unsubscribe(app.port))
    await client.settle()
    caller.send(get("/after", mine))
    await caller.until("app /after")
    expect(await exchange(pod, pod.ip4, app.port, get("/direct", mine))).toContain("app /direct")
    caller.end()
    await caller.ended
    app.stop()
  })
})

function post(body: string): string {
  return `POST / HTTP/1.1\r\nHost: a\r\nContent-Length: ${body.length}\r\n\r\n${body}`
}
