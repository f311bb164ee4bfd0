import { randomBytes } from "node:crypto"
import { AppError, errorText } from "../errors.ts"
import type { ServerAccess } from "./access.ts"
import { dialServer, type RawSocket } from "./dial.ts"
import { statusError, transportError } from "./errors.ts"
import { encodeFrame, FrameReader, opcode } from "./websocket-frames.ts"

/** Above this many bytes waiting to be sent, `send` asks the producer to wait. */
const highWaterBytes = 512 << 10
const maxHeadBytes = 64 << 10
const maxErrorBodyBytes = 256 << 10
const closeWaitMs = 1_000

export interface WebSocketHandlers {
  /** See `FrameSink.data`. */
  data(piece: Uint8Array, first: boolean, last: boolean): void
  drain(): void
  /** Called once. `error` is absent when both sides closed in good order. */
  closed(end: { code?: number; reason?: string; error?: Error }): void
}

export interface WebSocketOptions {
  headers?: Record<string, string>
  protocols?: readonly string[]
  timeoutMs: number
  signal?: AbortSignal
  /** Says in errors what was asked. */
  what: string
}

/**
 * A WebSocket to the API server that can be paused. The runtime's own has no way to stop reading, and a slow reader
 * would make it keep everything in memory.
 */
export class KubeWebSocket {
  readonly protocol: string
  readonly #socket: RawSocket
  readonly #mask: boolean
  #handlers: WebSocketHandlers | undefined
  #reader: FrameReader
  #early: Uint8Array[] = []
  #over = false
  #closing = false

  constructor(socket: RawSocket, protocol: string, mask: boolean) {
    this.protocol = protocol
    this.#socket = socket
    this.#mask = mask
    this.#reader = new FrameReader({
      data: (piece, first, last) => this.#handlers?.data(piece, first, last),
      control: (code, payload) => this.#control(code, payload),
    })
    socket.pause()
    socket.handlers = {
      data: (chunk) => this.#push(chunk),
      drain: () => this.#handlers?.drain(),
      closed: (error) => this.#end({ error: error ?? new Error("the connection was cut") }),
    }
  }

  /** Nothing is read before this. */
  attach(handlers: WebSocketHandlers): void {
    this.#handlers = handlers
    const early = this.#early
    this.#early = []
    for (const chunk of early) this.#push(chunk)
    if (!this.#over) this.#socket.resume()
  }

  /** Bytes that came in the same packet as the server's greeting. */
  unread(chunk: Uint8Array): void {
    if (chunk.byteLength > 0) this.#early.push(chunk)
  }

  /** One binary message. False: wait for `drain`. */
  send(parts: readonly Uint8Array[]): boolean {
    if (this.#over || this.#closing) return true
    this.#socket.write(encodeFrame(opcode.binary, parts, this.#mask))
    return this.#socket.queuedBytes < highWaterBytes
  }

  sendText(text: string): void {
    if (!this.#over && !this.#closing) this.#socket.write(encodeFrame(opcode.text, [Buffer.from(text)], this.#mask))
  }

  get queuedBytes(): number {
    return this.#over ? 0 : this.#socket.queuedBytes
  }

  get writable(): boolean {
    return this.#over || this.#socket.queuedBytes < highWaterBytes
  }

  pause(): void {
    this.#socket.pause()
  }

  resume(): void {
    this.#socket.resume()
  }

  /** Sends what is queued, says goodbye and waits shortly for the other side's goodbye. */
  close(code = 1000): void {
    if (this.#over || this.#closing) return
    this.#closing = true
    const payload = new Uint8Array([code >> 8, code & 0xff])
    this.#socket.write(encodeFrame(opcode.close, [payload], this.#mask))
    this.#socket.resume()
    setTimeout(() => this.#end({ code }), closeWaitMs).unref()
  }

  abort(error?: Error): void {
    this.#end({ error })
  }

  #push(chunk: Uint8Array): void {
    if (this.#over) return
    try {
      this.#reader.push(chunk)
    } catch (thrown) {
      this.#end({ error: new AppError("kube-bad-answer", errorText(thrown)) })
    }
  }

  #control(code: number, payload: Uint8Array): void {
    if (code === opcode.ping && !this.#closing) this.#socket.write(encodeFrame(opcode.pong, [payload], this.#mask))
    if (code !== opcode.close) return
    const number = payload.byteLength >= 2 ? (payload[0]! << 8) | payload[1]! : 1005
    const reason = new TextDecoder().decode(payload.subarray(2))
    if (!this.#closing) this.#socket.write(encodeFrame(opcode.close, [payload.subarray(0, 2)], this.#mask))
    this.#end({ code: number, reason: reason || undefined })
  }

  #end(end: { code?: number; reason?: string; error?: Error }): void {
    if (this.#over) return
    this.#over = true
    this.#socket.end()
    this.#handlers?.closed(end)
  }
}

/** @throws KubeError when the server answers with anything but an upgrade; AppError "kube-unreachable", "kube-tls" */
export async function openWebSocket(
  access: ServerAccess,
  path: string,
  options: WebSocketOptions,
): Promise<KubeWebSocket> {
  const url = new URL(access.url + path)
  const limits = [AbortSignal.timeout(options.timeoutMs), ...(options.signal ? [options.signal] : [])]
  const signal = AbortSignal.any(limits)
  try {
    const socket = await dialServer(access, signal)
    const key = randomBytes(16).toString("base64")
    socket.write(Buffer.from(requestHead(url, access, options, key)))
    const { status, headers, rest, body } = await readAnswer(socket, signal)
    if (status !== 101) throw statusError(options.what, status, body)
    if (headers.get("sec-websocket-accept") !== acceptFor(key)) throw new Error("the answer is no WebSocket handshake")
    const protocol = headers.get("sec-websocket-protocol") ?? ""
    const upgraded = new KubeWebSocket(socket, protocol, access.tls === undefined)
    upgraded.unread(rest)
    return upgraded
  } catch (thrown) {
    if (options.signal?.aborted) throw options.signal.reason
    throw transportError(options.what, access.url, thrown)
  }
}

function requestHead(url: URL, access: ServerAccess, options: WebSocketOptions, key: string): string {
  const headers: Record<string, string> = {
    Host: url.host,
    Connection: "Upgrade",
    Upgrade: "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": key,
    ...(options.protocols?.length ? { "Sec-WebSocket-Protocol": options.protocols.join(", ") } : {}),
    ...access.headers,
    ...options.headers,
  }
  const lines = Object.entries(headers).map(([name, value]) => {
    if (/[\r\n\0]/.test(name + value)) throw new Error(`header ${name} contains a line break`)
    return `${name}: ${value}\r\n`
  })
  return `GET ${url.pathname}${url.search} HTTP/1.1\r\n${lines.join("")}\r\n`
}

/** Reads the status line and headers; of an error answer also as much of its body as matters. */
async function readAnswer(socket: RawSocket, signal: AbortSignal) {
  let received = Buffer.alloc(0)
  let wake = () => {}
  let lost: Error | undefined
  let ended = false
  socket.handlers = {
    data: (chunk) => {
      received = Buffer.concat([received, chunk])
      wake()
    },
    drain: () => {},
    closed: (error) => {
      ended = true
      lost = error
      wake()
    },
  }
  signal.addEventListener("abort", () => wake(), { once: true })
  const more = async () => {
    if (signal.aborted) {
      socket.end()
      throw signal.reason
    }
    if (lost) throw lost
    if (!ended) await new Promise<void>((resolve) => (wake = resolve))
  }
  let end = -1
  while ((end = received.indexOf("\r\n\r\n")) < 0) {
    if (received.length > maxHeadBytes || ended) throw lost ?? new Error("the answer is not HTTP")
    await more()
  }
  const [statusLine = "", ...lines] = received.subarray(0, end).toString("latin1").split("\r\n")
  const status = Number(/^HTTP\/1\.[01] (\d{3})/.exec(statusLine)?.[1] ?? 0)
  const headers = new Headers()
  for (const line of lines) headers.append(line.slice(0, line.indexOf(":")), line.slice(line.indexOf(":") + 1).trim())
  if (status === 101) {
    socket.pause()
    return { status, headers, rest: received.subarray(end + 4), body: "" }
  }
  const length = Math.min(Number(headers.get("content-length") ?? maxErrorBodyBytes), maxErrorBodyBytes)
  while (received.length < end + 4 + length && !ended && !chunkedBodyIsWhole(headers, received)) await more()
  socket.end()
  const body = received.subarray(end + 4).toString("utf8")
  return { status, headers, rest: Buffer.alloc(0), body: headers.has("transfer-encoding") ? unchunk(body) : body }
}

const chunkedBodyIsWhole = (headers: Headers, received: Buffer) =>
  headers.has("transfer-encoding") && received.includes("\r\n0\r\n\r\n")

function unchunk(text: string): string {
  let out = ""
  for (let at = 0; ; ) {
    const lineEnd = text.indexOf("\r\n", at)
    const size = Number.parseInt(text.slice(at, lineEnd), 16)
    if (lineEnd < 0 || !(size > 0)) return out
    out += text.slice(lineEnd + 2, lineEnd + 2 + size)
    at = lineEnd + 2 + size + 2
  }
}

function acceptFor(key: string): string {
  const hasher = new Bun.CryptoHasher("sha1")
  return hasher.update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest("base64")
}
