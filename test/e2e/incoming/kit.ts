import { type TestClient, within } from "../../../agent/test-agent.ts"
import type {
  ChunkedRequestStartV2,
  ClientMessage,
  DaemonMessage,
  DaemonTcp,
  HttpBodyFrame,
  HttpFilter,
  LayerTcpSteal,
  StealType,
} from "../../../core/protocol/index.ts"
import type { Pod } from "./pod.ts"

/** An application in the pod that keeps what it was sent, connection by connection. */
export interface TestApplication {
  port: number
  /** Bytes of each connection as latin1, in the order they came. */
  received: string[]
  /** Address of each connection's caller, as the application sees it. */
  callers: string[]
  /** Something unasked, to every connection. */
  say(text: string): void
  stop(): void
}

/** `answer` gets what one connection has sent so far and returns what to send now; "" for nothing yet. */
export function startApplication(
  pod: Pod,
  answer: (received: string, isEnd: boolean) => string | Buffer,
  options: { port?: number; fd?: number; speaksFirst?: string } = {},
): TestApplication {
  const received: string[] = []
  const callers: string[] = []
  const sockets = new Set<{ write(text: string): number }>()
  const listener = pod.inPod(() =>
    Bun.listen<{ index: number; read: number; queue: Buffer; ending: boolean }>({
      ...(options.fd === undefined
        ? { hostname: "::", port: options.port ?? 0 }
        : ({ fd: options.fd } as unknown as { hostname: string; port: number })),
      allowHalfOpen: true,
      socket: {
        open(socket) {
          socket.data = { index: received.push("") - 1, read: 0, queue: Buffer.alloc(0), ending: false }
          sockets.add(socket)
          callers.push(socket.remoteAddress.replace("::ffff:", ""))
          if (options.speaksFirst) socket.write(options.speaksFirst)
        },
        data(socket, bytes) {
          received[socket.data.index] += bytes.toString("latin1")
          reply(socket, false)
        },
        end(socket) {
          reply(socket, true)
          socket.data.ending = true
          if (socket.data.queue.length === 0) socket.shutdown()
        },
        drain: flush,
        error() {},
      },
    }),
  )
  function reply(socket: Bun.Socket<{ index: number; read: number; queue: Buffer; ending: boolean }>, isEnd: boolean) {
    const state = socket.data
    const text = received[state.index]!.slice(state.read)
    const out = Buffer.from(answer(text, isEnd) as string, "latin1")
    if (out.length === 0) return
    state.read = received[state.index]!.length
    state.queue = Buffer.concat([state.queue, out])
    flush(socket)
  }
  function flush(socket: Bun.Socket<{ index: number; read: number; queue: Buffer; ending: boolean }>) {
    const taken = Math.max(0, socket.write(socket.data.queue))
    socket.data.queue = socket.data.queue.subarray(taken)
    if (socket.data.queue.length === 0 && socket.data.ending) socket.shutdown()
  }
  const say = (text: string) => {
    for (const socket of sockets) socket.write(text)
  }
  return { port: listener.port, received, callers, say, stop: () => listener.stop(true) }
}

/** Answers each complete request head that has no body with its path. */
export function answerWithPath(received: string): string {
  if (!received.endsWith("\r\n\r\n")) return ""
  const paths = [...received.matchAll(/^[A-Z]+ (\S+) HTTP\/1\.1\r$/gm)].map(([, path]) => `app ${path}`)
  return paths.map((text) => `HTTP/1.1 200 OK\r\ncontent-length: ${text.length}\r\n\r\n${text}`).join("")
}

/** A caller's connection: what it got so far, and ways to go on. */
export interface Caller {
  got: string
  send(bytes: string | Uint8Array): void
  end(): void
  reset(): void
  /** Resolves once `got` contains `text`. */
  until(text: string): Promise<void>
  /** Resolves with everything once the other side has ended. */
  ended: Promise<string>
  /** Why it ended, when not in good order. */
  error: string | undefined
}

export async function call(
  pod: Pod,
  host: string,
  port: number,
  from: "inCaller" | "inPod" = "inCaller",
): Promise<Caller> {
  const ended = Promise.withResolvers<string>()
  let waiting: (() => void)[] = []
  let queue = Buffer.alloc(0)
  const push = () => {
    const taken = Math.max(0, socket.write(queue))
    queue = queue.subarray(taken)
    if (queue.length === 0 && ending) socket.shutdown()
  }
  let ending = false
  const socket = await pod[from](() =>
    Bun.connect({
      hostname: host,
      port,
      allowHalfOpen: true,
      socket: {
        data(_, bytes) {
          caller.got += bytes.toString("latin1")
          for (const check of waiting) check()
        },
        drain: push,
        end: () => ended.resolve(caller.got),
        close(_, error) {
          caller.error ??= error?.message
          ended.resolve(caller.got)
        },
        error(_, error) {
          caller.error = error.message
        },
      },
    }),
  )
  const caller: Caller = {
    got: "",
    error: undefined,
    ended: within("the end of a connection", ended.promise),
    send(bytes) {
      queue = Buffer.concat([queue, typeof bytes === "string" ? Buffer.from(bytes, "latin1") : bytes])
      push()
    },
    end() {
      ending = true
      push()
    },
    reset: () => void socket.terminate(),
    until(text) {
      return within(
        `"${text}" (got: ${JSON.stringify(caller.got)})`,
        new Promise<void>((resolve) => {
          const check = () => caller.got.includes(text) && resolve()
          waiting.push(check)
          check()
        }),
      ).finally(() => (waiting = []))
    },
  }
  caller.ended.catch(() => {})
  return caller
}

/** Sends and gives everything until the other side ends. */
export async function exchange(pod: Pod, host: string, port: number, text: string): Promise<string> {
  const caller = await call(pod, host, port)
  caller.send(text)
  caller.end()
  return caller.ended
}

// ---- the client's side

export const steal = (value: StealType): ClientMessage => ({
  kind: "TcpSteal",
  value: { kind: "PortSubscribe", value },
})
export const stealMatching = (port: number, filter: HttpFilter) =>
  steal({ kind: "FilteredHttpEx", value: [port, filter] })
export const unsubscribe = (port: number): ClientMessage => ({
  kind: "TcpSteal",
  value: { kind: "PortUnsubscribe", value: port },
})
export const header = (value: string): HttpFilter => ({ kind: "Header", value })

/** Subscribes; the answer's kind, "Ok" or the error's. */
export async function subscribe(client: TestClient, message: ClientMessage): Promise<string> {
  client.send(message)
  const answer = await stolen(client, message.kind === "Tcp" ? "Tcp" : "TcpSteal")
  if (answer.kind !== "SubscribeResult") throw new Error(`expected the result of a subscription, got ${answer.kind}`)
  return answer.value.kind === "Ok" ? "Ok" : answer.value.value.kind
}

/** The next message about traffic; log lines in between are skipped. */
export async function stolen(client: TestClient, kind: "TcpSteal" | "Tcp" = "TcpSteal"): Promise<DaemonTcp> {
  for (;;) {
    const message: DaemonMessage = await client.next()
    if (message.kind === "TcpSteal" || message.kind === "Tcp") {
      if (message.kind !== kind) throw new Error(`expected ${kind}, got ${message.kind}`)
      return message.value
    }
    if (message.kind !== "LogMessage") throw new Error(`unexpected ${message.kind}: ${JSON.stringify(message)}`)
  }
}

/** The next request, with its body read to the end. */
export async function stolenRequest(
  client: TestClient,
  kind: "TcpSteal" | "Tcp" = "TcpSteal",
): Promise<ChunkedRequestStartV2 & { content: string; trailers: HttpBodyFrame | undefined }> {
  const message = await stolen(client, kind)
  if (message.kind !== "HttpRequestChunked" || message.value.kind !== "StartV2") {
    throw new Error(`expected a request, got ${message.kind}`)
  }
  const start = message.value.value
  const frames = [...start.request.body.frames]
  let isLast = start.request.body.isLast
  while (!isLast) {
    const part = await stolen(client, kind)
    if (part.kind !== "HttpRequestChunked" || part.value.kind !== "Body")
      throw new Error(`expected a body, got ${part.kind}`)
    frames.push(...part.value.value.frames)
    isLast = part.value.value.isLast
  }
  const content = frames
    .map((frame) => (frame.kind === "Data" ? Buffer.from(frame.value).toString("latin1") : ""))
    .join("")
  return { ...start, content, trailers: frames.find((frame) => frame.kind === "Trailers") }
}

export const data = (connectionId: bigint, text: string | Uint8Array): ClientMessage => ({
  kind: "TcpSteal",
  value: {
    kind: "Data",
    value: { connectionId, bytes: typeof text === "string" ? Buffer.from(text, "latin1") : text },
  },
})

/** A whole answer as current clients send it. */
export function answer(
  connectionId: bigint,
  text: string,
  options: { status?: number; headers?: Record<string, string> } = {},
): ClientMessage {
  return {
    kind: "TcpSteal",
    value: {
      kind: "HttpResponseFramed",
      value: {
        port: 0,
        connectionId,
        requestId: 0,
        internalResponse: {
          status: options.status ?? 200,
          version: "HTTP/1.1",
          headers: headersOf(options.headers),
          body: text === "" ? [] : [{ kind: "Data", value: Buffer.from(text, "latin1") }],
        },
      },
    },
  }
}

export const headersOf = (headers: Record<string, string> = {}) =>
  new Map(Object.entries(headers).map(([name, value]) => [name, [value]]))

export const respond = (value: LayerTcpSteal): ClientMessage => ({ kind: "TcpSteal", value })
