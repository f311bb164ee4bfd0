import { randomBytes } from "node:crypto"
import { AppError, errorText } from "../errors.ts"
import { cutIntoFrames } from "../link/frame-parts.ts"
import { opcode } from "../link/server-frames.ts"
import { lentPiece, writeRuns } from "../link/write-runs.ts"
import type { ServerAccess } from "./access.ts"
import type { RawSocket } from "./dial.ts"
import { transportError } from "./errors.ts"
import { openUpgrade } from "./upgrade.ts"
import { FrameReader, frameChunks } from "./websocket-frames.ts"

/** Above this many bytes waiting to be sent, `send` asks the producer to wait. */
const highWaterBytes = 512 << 10
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

  /** One binary message, in as many frames as it takes. False: wait for `drain`. */
  send(parts: readonly Uint8Array[]): boolean {
    return this.sendAll([parts])
  }

  /** Several binary messages, each of parts; short ones go in one write. False: wait for `drain`. */
  sendAll(messages: readonly (readonly Uint8Array[])[]): boolean {
    if (this.#over || this.#closing) return true
    this.#write(messages.flatMap((parts) => this.#chunks(opcode.binary, parts)))
    return this.#socket.queuedBytes < highWaterBytes
  }

  sendText(text: string): void {
    if (!this.#over && !this.#closing) this.#say(opcode.text, Buffer.from(text))
  }

  #say(code: number, payload: Uint8Array): void {
    this.#write(this.#chunks(code, [payload]))
  }

  #chunks(code: number, parts: readonly Uint8Array[]): Uint8Array[] {
    const length = parts.reduce((sum, part) => sum + part.byteLength, 0)
    return cutIntoFrames(parts, length).flatMap((frame) =>
      frameChunks(frame.isFirst ? code : opcode.continuation, frame, this.#mask),
    )
  }

  #write(chunks: readonly Uint8Array[]): void {
    for (const run of writeRuns(chunks)) this.#socket.writeCopy(lentPiece(run))
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
    this.#say(opcode.close, payload)
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
    if (code === opcode.ping && !this.#closing) this.#say(opcode.pong, payload)
    if (code !== opcode.close) return
    const number = payload.byteLength >= 2 ? (payload[0]! << 8) | payload[1]! : 1005
    const reason = new TextDecoder().decode(payload.subarray(2))
    if (!this.#closing) this.#say(opcode.close, payload.subarray(0, 2))
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
  const key = randomBytes(16).toString("base64")
  const handshake = {
    Upgrade: "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": key,
    ...(options.protocols?.length ? { "Sec-WebSocket-Protocol": options.protocols.join(", ") } : {}),
  }
  const upgrade = await openUpgrade(access, path, { ...options, headers: { ...handshake, ...options.headers } })
  const { socket, headers, rest } = upgrade
  if (headers.get("sec-websocket-accept") !== acceptFor(key)) {
    socket.end()
    throw transportError(options.what, access, new Error("the answer is no WebSocket handshake"))
  }
  const upgraded = new KubeWebSocket(socket, headers.get("sec-websocket-protocol") ?? "", access.tls === undefined)
  upgraded.unread(rest)
  return upgraded
}

function acceptFor(key: string): string {
  const hasher = new Bun.CryptoHasher("sha1")
  return hasher.update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest("base64")
}
