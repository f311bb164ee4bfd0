import { afterEach, expect, test } from "bun:test"
import { createServer, type ServerHttp2Session, type ServerHttp2Stream } from "node:http2"
import { until } from "../../../../test/until.ts"
import { linkPair } from "../../../link/index.ts"
import { silentLogger } from "../../../log.ts"
import type {
  ChunkedRequest,
  ChunkedRequestStartV2,
  ClientMessage,
  DaemonTcp,
  HttpBodyFrame,
  HttpHeaders,
  HttpResponseFramed,
} from "../../../protocol/index.ts"
import { Conversation } from "../../conversation.ts"
import type { IncomingOptions } from "./options.ts"
import { createIncomingWorld } from "./world.ts"

const ends: (() => void)[] = []
afterEach(() => {
  for (const end of ends.splice(0)) end()
})

const defaults: IncomingOptions = {
  mode: "steal",
  portMapping: new Map(),
  listenPorts: new Map(),
  ignoreLocalhost: false,
  ignorePorts: [],
  tlsDelivery: { protocol: "tls" },
  idleConnectionMs: 3_000,
}

/** Incoming traffic with a hand-made agent that accepts every subscription unless told otherwise. */
function incoming(options: Partial<IncomingOptions> = {}, subscribed: DaemonTcp | "ok" | "later" = "ok") {
  const { client, agent } = linkPair()
  client.pause()
  const session = { link: client, protocolVersion: "1.29.0", peer: "agent", close: async () => client.close() }
  const notices: string[] = []
  const conversation = new Conversation(session, { log: silentLogger, notice: (text) => notices.push(text) })
  const parts = createIncomingWorld(conversation, { ...defaults, ...options })
  const heard: ClientMessage[] = []
  agent.receive((message) => {
    heard.push(message)
    if ((message.kind !== "TcpSteal" && message.kind !== "Tcp") || !message.value.kind.startsWith("PortSubscribe"))
      return
    if (subscribed === "later") return
    const port = portOf(message.value.value)
    agent.send({
      kind: message.kind,
      value: subscribed === "ok" ? { kind: "SubscribeResult", value: { kind: "Ok", value: port } } : subscribed,
    })
  })
  conversation.begin()
  ends.push(() => {
    conversation.end()
    client.abort()
    agent.abort()
  })
  return {
    ...parts,
    agent,
    conversation,
    notices,
    heard,
    say: (value: DaemonTcp, kind: "TcpSteal" | "Tcp" = "TcpSteal") => void agent.send({ kind, value }),
  }
}

function portOf(value: unknown): number {
  if (typeof value === "number") return value
  return portOf(Array.isArray(value) ? value[0] : (value as { value: unknown }).value)
}

const listener = (port: number, local = port) => ({
  requested: { ip: "0.0.0.0", port },
  local: { ip: "0.0.0.0", port: local },
})
const headers = (rows: Record<string, string>): HttpHeaders =>
  new Map(Object.entries(rows).map(([name, value]) => [name, [value]]))
const source = { ip: "10.0.0.9", port: 4242 }

/** To port 80 of the pod. */
function rawConnection(connectionId: bigint, { ip, port }: typeof source): DaemonTcp {
  const connection = {
    connectionId,
    remoteAddress: ip,
    destinationPort: 80,
    sourcePort: port,
    localAddress: "10.0.0.1",
  }
  return { kind: "NewConnectionV2", value: { connection, transport: { kind: "Tcp" } } }
}

function request(connectionId: bigint, port: number, method = "GET", body = ""): DaemonTcp {
  const rows: Record<string, string> = body ? { host: "web", "content-length": String(body.length) } : { host: "web" }
  const frames = body ? [{ kind: "Data", value: Buffer.from(body) } as const] : []
  const whole = {
    method,
    uri: "/a?b=1",
    headers: headers(rows),
    version: "HTTP/1.1" as const,
    body: { frames, isLast: true },
  }
  const metadata = { kind: "V1", value: { source, destination: { ip: "10.0.0.1", port } } } as const
  return {
    kind: "HttpRequestChunked",
    value: {
      kind: "StartV2",
      value: { connectionId, requestId: 0, request: whole, metadata, transport: { kind: "Tcp" } },
    },
  }
}

function http2Request(connectionId: bigint, frames: HttpBodyFrame[] = []): DaemonTcp {
  const { value } = request(connectionId, 80) as {
    value: Extract<DaemonTcp, { kind: "HttpRequestChunked" }>["value"]
  }
  const start = (value as { value: ChunkedRequestStartV2 }).value
  const whole = {
    ...start.request,
    uri: "http://web/a?b=1",
    version: "HTTP/2.0" as const,
    headers: headers({ "x-a": "1" }),
    body: { frames, isLast: true },
  }
  return { kind: "HttpRequestChunked", value: { kind: "StartV2", value: { ...start, request: whole } } }
}

/** The program: a server of this machine on a port of its own. */
function program(answer: (request: Request) => Response | Promise<Response>) {
  const server = Bun.serve({ hostname: "127.0.0.1", port: 0, fetch: answer })
  ends.push(() => void server.stop(true))
  return server.port!
}

test("a stolen request reaches the program as it was sent, and the answer goes back in one piece", async () => {
  const { world, heard, say } = incoming()
  const port = program(
    async (asked) =>
      new Response(`${asked.method} ${new URL(asked.url).search} ${await asked.text()}`, {
        headers: { "x-mine": "1" },
      }),
  )
  await world.listening(listener(80, port))
  say(request(3n, 80, "POST", "hello"))
  const answer = await next(heard, "HttpResponseFramed", "HttpResponseChunked")
  const {
    internalResponse,
    connectionId,
    port: answered,
  } = answer.kind === "HttpResponseFramed" ? answer.value : (answer.value.value as HttpResponseFramed)
  expect([connectionId, answered, internalResponse.status, internalResponse.headers.get("x-mine")]).toEqual([
    3n,
    80,
    200,
    ["1"],
  ])
  expect(bodyOf(heard)).toBe("POST ?b=1 hello")
})

test("when nobody listens any more the caller gets 502, a raw connection is given back", async () => {
  const { world, heard, say } = incoming()
  await world.listening(listener(80, 1))
  world.closed(listener(80, 1))
  say(request(5n, 80))
  const { value } = await next(heard, "HttpResponse")
  expect(value).toMatchObject({ connectionId: 5n, internalResponse: { status: 502 } })
  say(rawConnection(6n, { ip: "10.0.0.9", port: 1 }))
  expect((await next(heard, "ConnectionUnsubscribe")).value).toBe(6n)
})

test("a raw connection is joined both ways, and the program sees who called", async () => {
  const { world, heard, say } = incoming()
  const { promise, resolve } = Promise.withResolvers<unknown>()
  const server = Bun.listen({
    hostname: "127.0.0.1",
    port: 0,
    socket: {
      open: (socket) =>
        void Promise.resolve(world.peerOf({ ip: socket.remoteAddress, port: socket.remotePort })).then(resolve),
      data: (socket, data) => void socket.write(`got ${data}`),
    },
  })
  ends.push(() => server.stop(true))
  await world.listening(listener(80, server.port))
  say(rawConnection(9n, source))
  say({ kind: "Data", value: { connectionId: 9n, bytes: Buffer.from("hi") } })
  expect(Buffer.from((await next(heard, "Data")).value.bytes).toString()).toBe("got hi")
  expect(await promise).toEqual({ source, destination: { ip: "10.0.0.1", port: 80 } })
  expect(await world.peerOf({ ip: "127.0.0.1", port: 1 })).toBeUndefined()
})

test.each([
  [true, "half,error"],
  [false, "half,end"],
])(
  "a caller that breaks off (%p) does not look done, and one that is done does not look broken off",
  async (breaks, expected) => {
    const { world, say } = incoming()
    const seen: string[] = []
    const over = Promise.withResolvers<void>()
    const server = Bun.listen({
      hostname: "127.0.0.1",
      port: 0,
      socket: {
        data: (_, data) => void seen.push(String(data)),
        end: () => void seen.push("end"),
        error: () => void seen.push("error"),
        close: (_, error) => {
          if (error) seen.push("error")
          over.resolve()
        },
      },
    })
    ends.push(() => server.stop(true))
    await world.listening(listener(80, server.port))
    say(rawConnection(9n, source))
    say({ kind: "Data", value: { connectionId: 9n, bytes: Buffer.from("half") } })
    if (!breaks) say({ kind: "Data", value: { connectionId: 9n, bytes: new Uint8Array() } })
    say({ kind: "Close", value: { connectionId: 9n } })
    await over.promise
    expect([...new Set(seen)].join()).toBe(expected)
  },
)

/** A request whose body is still to come, in parts. */
function upload(connectionId: bigint, version: "HTTP/1.1" | "HTTP/2.0" = "HTTP/1.1") {
  const { value } = request(connectionId, 80, "POST") as {
    value: { kind: "StartV2"; value: ChunkedRequestStartV2 }
  }
  const start = value.value
  const whole = { ...start.request, version, headers: headers({ host: "web" }), body: { frames: [], isLast: false } }
  const chunked = (chunk: ChunkedRequest): DaemonTcp => ({ kind: "HttpRequestChunked", value: chunk })
  return {
    begin: chunked({ kind: "StartV2", value: { ...start, request: whole } }),
    part: (bytes: Uint8Array, isLast = false) =>
      chunked({
        kind: "Body",
        value: { frames: [{ kind: "Data", value: bytes }], isLast, connectionId, requestId: 0 },
      }),
    breakOff: chunked({ kind: "ErrorV2", value: { connectionId, requestId: 0, errorMessage: "reset" } }),
  }
}

/** A program that does not read until it is told to. @returns its port */
type Slow = (on: { accepted(by: { resume(): void }): void; data(bytes: Uint8Array): void }) => Promise<number>

const slowProgram: Slow = async ({ accepted, data }) => {
  const open = (socket: Bun.Socket) => {
    socket.pause()
    accepted(socket)
  }
  const server = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { open, data: (_, bytes) => data(bytes) } })
  ends.push(() => server.stop(true))
  return server.port
}

const slowHttp2: Slow = async ({ accepted, data }) => {
  const server = createServer()
  // Its window is small until somebody listens to the data.
  server.on("stream", (stream: ServerHttp2Stream) => accepted({ resume: () => void stream.on("data", data) }))
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
  ends.push(() => server.close())
  return (server.address() as { port: number }).port
}

test.each(["HTTP/1.1", "HTTP/2.0", "raw"] as const)(
  "of a large upload (%s) to a program that does not read a part waits here; all of it arrives once it does",
  async (how) => {
    const { world, say, agent } = incoming()
    const accepted = Promise.withResolvers<{ resume(): void }>()
    let got = 0
    const data = (bytes: Uint8Array) => void (got += bytes.byteLength)
    await world.listening(
      listener(80, await (how === "HTTP/2.0" ? slowHttp2 : slowProgram)({ accepted: accepted.resolve, data })),
    )
    let parts = 640
    const part = new Uint8Array(1 << 20)
    const { begin, part: bodyPart } = upload(3n, how === "raw" ? undefined : how)
    say(how === "raw" ? rawConnection(3n, source) : begin)
    const slow = await accepted.promise
    let said = 0
    const uploaded = (async () => {
      for (; said < parts; said++) {
        say(how === "raw" ? { kind: "Data", value: { connectionId: 3n, bytes: part } } : bodyPart(part))
        await agent.whenWritable()
      }
    })()
    let before = -1
    for (let quiet = 0; quiet < 8; quiet = said === before ? quiet + 1 : 0) {
      before = said
      await Bun.sleep(20)
    }
    expect(said).toBeGreaterThan(30)
    expect(said).toBeLessThan(parts)
    parts = said + 32
    slow.resume()
    await uploaded
    await until(() => got >= parts << 20)
  },
  20_000,
)

test("a program that reads an upload only once it has heard something else hears that, though it comes behind the upload", async () => {
  const { world, say } = incoming()
  let uploading: Bun.Socket | undefined
  let got = 0
  const server = Bun.listen({
    hostname: "127.0.0.1",
    port: 0,
    socket: {
      open(socket) {
        if (uploading) return
        uploading = socket
        socket.pause()
      },
      data(socket, bytes) {
        if (socket === uploading) got += bytes.byteLength
        else uploading?.resume()
      },
    },
  })
  ends.push(() => server.stop(true))
  await world.listening(listener(80, server.port))
  const part = new Uint8Array(1 << 20)
  const data = (connectionId: bigint, bytes: Uint8Array) => say({ kind: "Data", value: { connectionId, bytes } })
  say(rawConnection(3n, source))
  await until(() => uploading !== undefined)
  for (let parts = 0; parts < 100; parts++) data(3n, part)
  say(rawConnection(4n, source))
  data(4n, Buffer.from("go on"))
  await until(() => got === 100 << 20)
}, 20_000)

test("a caller that breaks off in the middle of a request is no caller that was done", async () => {
  const { world, say } = incoming()
  let got = ""
  const over = Promise.withResolvers<void>()
  const server = Bun.listen({
    hostname: "127.0.0.1",
    port: 0,
    socket: { data: (_, bytes) => void (got += bytes), close: () => over.resolve() },
  })
  ends.push(() => server.stop(true))
  await world.listening(listener(80, server.port))
  const { begin, part, breakOff } = upload(3n)
  say(begin)
  say(part(Buffer.from("half")))
  await until(() => got.endsWith("4\r\nhalf\r\n"))
  say(breakOff)
  await over.promise
  expect(got).toEndWith("4\r\nhalf\r\n")
}, 10_000)

test("an answer that is streamed comes as it is said", async () => {
  const { world, heard, say } = incoming()
  const more = [Promise.withResolvers<string>(), Promise.withResolvers<string>()]
  const port = program(
    () =>
      new Response(
        new ReadableStream({
          async start(controller) {
            controller.enqueue("one ")
            for (const { promise } of more) controller.enqueue(await promise)
            controller.close()
          },
        }),
      ),
  )
  await world.listening(listener(80, port))
  say(request(3n, 80))
  await until(() => bodyOf(heard) === "one ")
  more[0]!.resolve("two ")
  await until(() => bodyOf(heard) === "one two ")
  more[1]!.resolve("three")
  await until(() => bodyOf(heard) === "one two three")
})

test.each([
  ["a small", 1, "again"],
  ["a large", 2 << 20, "502"],
])(
  "%s request is sent again when the program loses it, unless it would have to be kept",
  async (_size, bytes, then) => {
    const { world, heard, say } = incoming()
    let connections = 0
    const server = Bun.listen({
      hostname: "127.0.0.1",
      port: 0,
      socket: {
        open: () => void connections++,
        data(socket) {
          if (connections === 1) socket.terminate()
          else socket.end("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nagain")
        },
      },
    })
    ends.push(() => server.stop(true))
    await world.listening(listener(80, server.port))
    say(request(3n, 80, "POST", "x".repeat(bytes)))
    if (then === "again") await until(() => bodyOf(heard) === "again")
    else expect((await next(heard, "HttpResponse")).value.internalResponse.status).toBe(502)
    expect(connections).toBe(then === "again" ? 2 : 1)
  },
)

test("a mirrored request reaches the program, its answer nobody", async () => {
  const { world, heard, say } = incoming({ mode: "mirror" })
  const seen = Promise.withResolvers<string>()
  const port = program((asked) => {
    seen.resolve(new URL(asked.url).pathname)
    return new Response("unwanted")
  })
  await world.listening(listener(80, port))
  say(request(1n, 80), "Tcp")
  expect(await seen.promise).toBe("/a")
  expect(heard.filter(({ kind }) => kind === "TcpSteal")).toEqual([])
})

test("a port the kernel chose is the program's own as long as it is open, and asked of nobody", async () => {
  const { world, heard, listensOn } = incoming({})
  world.chosen!(40_000, true)
  expect([listensOn(40_000), listensOn(40_001)]).toEqual([true, false])
  world.chosen!(40_000, false)
  expect(listensOn(40_000)).toBe(false)
  expect(heard).toEqual([])
})

test("filter, port mapping and ignored ports decide what is asked for", async () => {
  const filter = { kind: "Header", value: "x: y" } as const
  const { world, heard } = incoming({
    filter,
    filterPorts: [80],
    portMapping: new Map([[3000, 80]]),
    ignorePorts: [9229],
  })
  const any = (port: number) => ({ ip: "0.0.0.0", port })
  expect([world.wants(any(3000)), world.wants(any(9229))]).toEqual([true, false])
  await world.listening(listener(3000))
  await world.listening(listener(81))
  const asked = heard.flatMap((message) => (message.kind === "TcpSteal" ? [message.value] : []))
  expect(asked).toEqual([
    { kind: "PortSubscribe", value: { kind: "FilteredHttpEx", value: [80, filter] } },
    { kind: "PortSubscribe", value: { kind: "All", value: 81 } },
  ])
  world.closed(listener(3000))
  await until(() =>
    heard.some(
      (message) =>
        message.kind === "TcpSteal" && message.value.kind === "PortUnsubscribe" && message.value.value === 80,
    ),
  )
})

test.each<[sentence: string, options: Partial<IncomingOptions>, port: number, wanted: boolean]>([
  ["every port is wanted", {}, 3000, true],
  ["none when it is off", { mode: "off" }, 3000, false],
  ["not one that is ignored", { ignorePorts: [3000] }, 3000, false],
  ["only those that are named", { ports: [80] }, 3000, false],
  ["by the port of the pod", { ports: [80], portMapping: new Map([[3000, 80]]) }, 3000, true],
  ["while the ignored ones are the program's", { ignorePorts: [80], portMapping: new Map([[3000, 80]]) }, 3000, true],
])("%s", (_, options, port, wanted) => {
  expect(incoming(options).world.wants({ ip: "0.0.0.0", port })).toBe(wanted)
})

test.each([
  ["127.0.0.1", false],
  ["::1", false],
  ["0.0.0.0", true],
  ["127.0.0.2", true],
])("of a debugger's port a listener on %s is wanted: %p", (ip, wanted) => {
  const { world } = incoming({ debuggerPorts: new Set([50051]) })
  expect([world.wants({ ip, port: 50051 }), world.wants({ ip, port: 50052 })]).toEqual([wanted, true])
})

const filter = { kind: "Header", value: "x: y" } as const
test.each<[sentence: string, options: Partial<IncomingOptions>, ip: string, asked: unknown]>([
  ["mirror takes a copy", { mode: "mirror" }, "0.0.0.0", { kind: "Tcp", value: { kind: "PortSubscribe", value: 80 } }],
  [
    "mirror with a filter a copy of what fits",
    { mode: "mirror", filter },
    "0.0.0.0",
    { kind: "Tcp", value: { kind: "PortSubscribeFilteredHttp", value: [80, filter] } },
  ],
  [
    "but everything of a port the filter is not for",
    { mode: "mirror", filter, filterPorts: [81] },
    "0.0.0.0",
    { kind: "Tcp", value: { kind: "PortSubscribe", value: 80 } },
  ],
  [
    "steal takes everything",
    {},
    "0.0.0.0",
    { kind: "TcpSteal", value: { kind: "PortSubscribe", value: { kind: "All", value: 80 } } },
  ],
  [
    "steal with a filter what fits",
    { filter },
    "127.0.0.1",
    { kind: "TcpSteal", value: { kind: "PortSubscribe", value: { kind: "FilteredHttpEx", value: [80, filter] } } },
  ],
  ["a loopback listener is nobody's when that is wanted", { ignoreLocalhost: true }, "127.0.0.1", undefined],
  [
    "an unspecified address is no loopback",
    { ignoreLocalhost: true },
    "0.0.0.0",
    { kind: "TcpSteal", value: { kind: "PortSubscribe", value: { kind: "All", value: 80 } } },
  ],
])("%s", async (_, options, ip, asked) => {
  const { world, heard } = incoming(options)
  const subscriptions = () => heard.filter(({ kind }) => kind === "Tcp" || kind === "TcpSteal")
  await world.listening({ requested: { ip, port: 80 }, local: { ip, port: 80 } })
  expect(subscriptions()).toEqual(asked === undefined ? [] : [asked as ClientMessage])
})

test("a port somebody else has taken cannot be listened on; a policy ends the session", async () => {
  const taken = incoming(
    {},
    { kind: "SubscribeResult", value: { kind: "Err", value: { kind: "PortAlreadyStolen", value: 80 } } },
  )
  await expect(taken.world.listening(listener(80))).rejects.toMatchObject({ errno: 98 })
  expect(taken.notices).toEqual(["Another session has port 80 of the target: the program cannot listen on it"])
  await expect(taken.subscribe(80, { ip: "127.0.0.1", port: 8080 })).rejects.toMatchObject({ code: "port-stolen" })
  expect(taken.notices).toHaveLength(1)
  const blockedAction = { kind: "Steal", value: { kind: "All", value: 80 } } as const
  const forbidden = incoming(
    {},
    {
      kind: "SubscribeResult",
      value: { kind: "Err", value: { kind: "Forbidden", value: { blockedAction, policyName: "calm" } } },
    },
  )
  await expect(forbidden.world.listening(listener(80))).rejects.toThrow()
  expect(await forbidden.conversation.lost).toMatchObject({
    code: "policy",
    message: expect.stringContaining('the policy "calm" does not allow stealing port 80'),
  })
})

const byHeader = { kind: "Header", value: "x" } as const

test.each<[situation: string, options: Partial<IncomingOptions>, isWarned: boolean]>([
  ["stealing a port that is probed", { mode: "steal", probedPorts: [80] }, true],
  [
    "stealing one the filter is not for",
    { mode: "steal", probedPorts: [80], filter: byHeader, filterPorts: [81] },
    true,
  ],
  ["stealing another", { mode: "steal", probedPorts: [81] }, false],
  ["stealing it by a filter", { mode: "steal", probedPorts: [80], filter: byHeader }, false],
  ["mirroring it", { mode: "mirror", probedPorts: [80] }, false],
])("%s: the user is told of the probes, %p", async (_, options, isWarned) => {
  const { world, notices } = incoming(options)
  await world.listening(listener(80))
  expect(notices).toEqual(isWarned ? [expect.stringContaining("Kubernetes asks port 80 of the pod")] : [])
})

test("a request of HTTP/2 reaches the program by HTTP/2, trailers come back, the caller is known", async () => {
  const { world, heard, say } = incoming()
  const asked = Promise.withResolvers<unknown>()
  const server = createServer()
  const sessions: ServerHttp2Session[] = []
  server.on("session", (session) => sessions.push(session))
  server.on("stream", (stream: ServerHttp2Stream, head) => {
    const { remoteAddress = "", remotePort = 0 } = stream.session?.socket ?? {}
    void Promise.resolve(world.peerOf({ ip: remoteAddress, port: remotePort })).then((peer) =>
      asked.resolve([head[":method"], head[":path"], head[":authority"], head["x-a"], peer?.source.ip]),
    )
    stream.respond({ ":status": 200, "content-type": "text/plain" }, { waitForTrailers: true })
    stream.on("wantTrailers", () => stream.sendTrailers({ "grpc-status": "0" }))
    stream.end("answer")
  })
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
  ends.push(() => server.close())
  const { port } = server.address() as { port: number }
  await world.listening(listener(80, port))
  say(http2Request(3n))
  expect(await asked.promise).toEqual(["GET", "/a?b=1", "web", "1", source.ip])
  await until(() => bodyOf(heard) === "answer" && JSON.stringify(heard, jsonMap).includes("grpc-status"))
  await until(() => sessions.length === 1 && sessions.every(({ closed }) => closed), "the connection's end")
})

const jsonMap = (_: string, value: unknown) =>
  value instanceof Map ? [...value] : typeof value === "bigint" ? String(value) : value

test("a program that starts a moment later still gets the request", async () => {
  const { world, heard, say } = incoming()
  const port = freePort()
  await world.listening(listener(80, port))
  say(request(8n, 80))
  await Bun.sleep(80)
  const server = Bun.serve({ hostname: "127.0.0.1", port, fetch: () => new Response("late") })
  ends.push(() => void server.stop(true))
  await until(() => bodyOf(heard) === "late")
})

/** A port nobody listens on. */
function freePort(): number {
  const probe = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data() {} } })
  probe.stop(true)
  return probe.port
}

test("what comes while a program restarts waits for it, wherever it listens then", async () => {
  const { world, heard, say } = incoming()
  const gone = listener(80, freePort())
  await world.listening(gone)
  say(rawConnection(9n, source))
  say({ kind: "Data", value: { connectionId: 9n, bytes: Buffer.from("hi") } })
  say(request(8n, 80))
  await Bun.sleep(60)
  world.closed(gone)
  const echo = Bun.listen({
    hostname: "127.0.0.1",
    port: 0,
    socket: { data: (socket, data) => void socket.end(data.includes("GET") ? answerText : `got ${data}`) },
  })
  const answerText = "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nback"
  ends.push(() => echo.stop(true))
  await world.listening(listener(80, echo.port))
  expect(Buffer.from((await next(heard, "Data")).value.bytes).toString()).toBe("got hi")
  await until(() => bodyOf(heard) === "back")
})

test("a request of HTTP/2 waits for a program that restarts, too, and brings its body", async () => {
  const { world, heard, say } = incoming()
  const port = freePort()
  await world.listening(listener(80, port))
  say(http2Request(8n, [{ kind: "Data", value: Buffer.from("body") }]))
  await Bun.sleep(80)
  const server = createServer()
  server.on("stream", (stream: ServerHttp2Stream) => {
    stream.on("data", (data: Buffer) => {
      stream.respond({ ":status": 200 })
      stream.end(`late ${data}`)
    })
  })
  await new Promise<void>((resolve) => server.listen(port, "127.0.0.1", resolve))
  ends.push(() => server.close())
  await until(() => bodyOf(heard) === "late body")
})

test("with the program's end nobody waits for it any more", async () => {
  const { world, heard, say } = incoming()
  await world.listening(listener(80, freePort()))
  say(rawConnection(9n, source))
  say(http2Request(8n))
  await Bun.sleep(20)
  const askedAt = performance.now()
  expect(await world.lastWords?.()).toBe(true)
  // A program that restarts is waited for longer.
  expect(performance.now() - askedAt).toBeLessThan(2_500)
  expect((await next(heard, "ConnectionUnsubscribe")).value).toBe(9n)
  expect(bodyOf(heard)).toBe("")
})

type Said = Extract<ClientMessage, { kind: "TcpSteal" }>["value"]
type OfKind<K extends Said["kind"]> = Extract<Said, { kind: K }>

async function next<K extends Said["kind"]>(heard: ClientMessage[], ...kinds: K[]): Promise<OfKind<K>> {
  const find = () =>
    heard
      .flatMap((message) => (message.kind === "TcpSteal" ? [message.value] : []))
      .find(({ kind }) => kinds.includes(kind as K))
  await until(() => find() !== undefined)
  return find() as OfKind<K>
}

/** The body of the only answer, in whatever form it was sent. */
function bodyOf(heard: ClientMessage[]): string {
  const frames = heard.flatMap((message) => {
    if (message.kind !== "TcpSteal") return []
    const { kind, value } = message.value
    if (kind === "HttpResponseFramed") return value.internalResponse.body
    if (kind !== "HttpResponseChunked") return []
    return value.kind === "Start" ? value.value.internalResponse.body : value.kind === "Body" ? value.value.frames : []
  })
  return frames.map((frame) => (frame.kind === "Data" ? Buffer.from(frame.value).toString() : "")).join("")
}

test("a mirrored connection that was over at once reaches the program whole", async () => {
  const { world, say } = incoming({ mode: "mirror" })
  const got = Promise.withResolvers<string>()
  let text = ""
  const server = Bun.listen({
    hostname: "127.0.0.1",
    port: 0,
    allowHalfOpen: true,
    socket: {
      data: (_, bytes) => void (text += bytes),
      end: () => got.resolve(text),
      error: (_, error) => got.reject(error),
      close: () => got.resolve(`${text}, cut off`),
    },
  })
  ends.push(() => server.stop(true))
  await world.listening(listener(80, server.port))
  const connection = {
    connectionId: 9n,
    remoteAddress: "10.0.0.9",
    destinationPort: 80,
    sourcePort: 1,
    localAddress: "10.0.0.1",
  }
  say({ kind: "NewConnectionV1", value: connection }, "Tcp")
  say({ kind: "Data", value: { connectionId: 9n, bytes: Buffer.from("all of it") } }, "Tcp")
  say({ kind: "Close", value: { connectionId: 9n } }, "Tcp")
  expect(await got.promise).toBe("all of it")
})

test("what the program answered before it ended is passed on; who got no answer is left to the application", async () => {
  const { world, heard, say } = incoming()
  const asked = Promise.withResolvers<Bun.Socket>()
  const server = Bun.listen({
    hostname: "127.0.0.1",
    port: 0,
    socket: { data: (socket) => asked.resolve(socket) },
  })
  await world.listening(listener(80, server.port))
  say(request(5n, 80))
  const program = await asked.promise
  program.end("HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nlast words")
  server.stop()
  say(request(6n, 80))
  // Nobody listens any more: it is to be tried again.
  await Bun.sleep(20)
  expect(await world.lastWords?.()).toBe(true)
  say(request(7n, 80))
  const answered = () =>
    JSON.stringify(
      heard.filter((message) => JSON.stringify(message, plain).includes("HttpResponse")),
      plain,
    )
  await until(() => answered().includes('"isLast":true'))
  await Bun.sleep(50)
  expect(new Set(answered().match(/"connectionId":\d+/g))).toEqual(new Set(['"connectionId":5']))
})

const plain = (_: string, value: unknown) => (typeof value === "bigint" ? Number(value) : value)

test.each<[sentence: string, options: Partial<IncomingOptions>, told: string[]]>([
  [
    "who wants to steal and has no target is told once",
    { mode: "off", wanted: "steal" },
    [expect.stringContaining("port 8080")],
  ],
  ["who wants nothing is told nothing", { mode: "off" }, []],
])("%s", (_, options, told) => {
  const { world, notices } = incoming(options)
  world.chosen?.(8080, true)
  world.chosen?.(8081, true)
  expect(notices).toEqual(told)
})

test("who waits long for a port is told, who does not is not", async () => {
  const slow = incoming({}, "later")
  const listening = slow.world.listening(listener(8080))
  await until(() => slow.notices.length > 0)
  expect(slow.notices).toEqual([expect.stringContaining("still taking port 8080")])
  slow.say({ kind: "SubscribeResult", value: { kind: "Ok", value: 8080 } })
  await listening
  const quick = incoming()
  await quick.world.listening(listener(8080))
  await Bun.sleep(2_500)
  expect(quick.notices).toEqual([])
})
