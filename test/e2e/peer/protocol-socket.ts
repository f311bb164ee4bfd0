import { createHash, randomBytes } from "node:crypto"
import type { TLSSocket } from "node:tls"
import {
  type ClientMessage,
  clientMessage,
  type DaemonMessage,
  daemonMessage,
  joined,
  Writer,
} from "../../../core/protocol/index.ts"
import { type HeaderLine, value } from "./http1.ts"

const subprotocol = "v4.channel.k8s.io"
const maxFrameBytes = 16 * 1024 * 1024
const maxMessageBytes = 64 * 1024 * 1024

export const newSocketKey = (): string => randomBytes(16).toString("base64")

export const upgradeHeaders = (key: string): HeaderLine[] => [
  ["connection", "Upgrade"],
  ["upgrade", "websocket"],
  ["sec-websocket-version", "13"],
  ["sec-websocket-key", key],
  ["sec-websocket-protocol", subprotocol],
]

/** The checks the client makes of a 101. @throws for the first one that fails */
export function assertUpgraded(headers: readonly HeaderLine[], key: string): void {
  const accept = createHash("sha1").update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest("base64")
  const is = (name: string, wanted: string, anyCase = false) => {
    const found = value(headers, name)
    if (found === wanted || (anyCase && found?.toLowerCase() === wanted)) return
    throw new Error(`the upgrade was answered with ${name}: ${found}`)
  }
  is("upgrade", "websocket", true)
  is("connection", "upgrade", true)
  is("sec-websocket-accept", accept)
  is("sec-websocket-protocol", subprotocol)
  if (value(headers, "sec-websocket-extensions")) throw new Error("an extension was negotiated")
}

export type Ended = { ended: string }

/** A WebSocket of the client: one binary frame is one message, and any other frame is the end. */
export class ProtocolSocket {
  readonly #socket: TLSSocket
  #bytes = Buffer.alloc(0)
  #parts: Buffer[] = []
  #ended: string | undefined
  readonly #messages: DaemonMessage[] = []
  #wake: (() => void) | undefined

  constructor(socket: TLSSocket, rest: Buffer) {
    this.#socket = socket
    socket.on("data", (chunk: Buffer) => this.#received(chunk))
    socket.on("error", (error) => this.#end(`error: ${error.message}`))
    socket.on("close", () => this.#end("the connection was lost"))
    this.#received(rest)
    socket.resume()
  }

  send(message: ClientMessage): void {
    const writer = new Writer()
    clientMessage.encodeInto(writer, message)
    this.#write(2, Buffer.from(joined(writer.take())))
  }

  /** The next message, whatever it is; or why there is none. @throws when nothing comes in time */
  async next(withinMs = 30_000): Promise<DaemonMessage | Ended> {
    const until = Date.now() + withinMs
    for (;;) {
      const message = this.#messages.shift()
      if (message) return message
      if (this.#ended !== undefined) return { ended: this.#ended }
      const { promise, resolve } = Promise.withResolvers<void>()
      this.#wake = resolve
      const timer = setTimeout(resolve, until - Date.now())
      await promise
      clearTimeout(timer)
      if (Date.now() >= until && this.#messages.length === 0) throw new Error(`no message within ${withinMs} ms`)
    }
  }

  /** As a process that becomes another one: no frame, no TLS goodbye. */
  drop(): void {
    this.#socket.destroy()
  }

  stall(): void {
    this.#socket.pause()
  }

  /** The orderly end. */
  close(): void {
    this.#write(8, Buffer.alloc(0))
    this.#socket.end()
  }

  #write(opcode: number, payload: Buffer): void {
    if (this.#socket.destroyed) return
    const mask = randomBytes(4)
    const length = payload.length
    const head =
      length < 126
        ? Buffer.from([0x80 | opcode, 0x80 | length])
        : length < 65_536
          ? Buffer.from([0x80 | opcode, 0xfe, length >> 8, length & 0xff])
          : Buffer.from([
              0x80 | opcode,
              0xff,
              0,
              0,
              0,
              0,
              length >>> 24,
              (length >> 16) & 255,
              (length >> 8) & 255,
              length & 255,
            ])
    this.#socket.write(Buffer.concat([head, mask, payload.map((byte, at) => byte ^ mask[at & 3]!)]))
  }

  #received(chunk: Buffer): void {
    this.#bytes = Buffer.concat([this.#bytes, chunk])
    while (this.#ended === undefined) {
      const frame = this.#frame()
      if (!frame) return
      const { first, payload } = frame
      const opcode = first & 15
      const expected = (first & 0x70) === 0 && (opcode === 2 || (opcode === 0 && this.#parts.length > 0))
      if (!expected) this.#end(`a frame with opcode ${opcode}, reserved bits ${first & 0x70}`)
      if (this.#ended !== undefined) return
      this.#parts.push(payload)
      if (!(first & 0x80)) continue
      const message = Buffer.concat(this.#parts)
      this.#parts = []
      if (message.length > maxMessageBytes) this.#end("a message of more than 64 MiB")
      else this.#messages.push(daemonMessage.decode(new Uint8Array(message)))
      this.#wake?.()
    }
  }

  #frame(): { first: number; payload: Buffer } | undefined {
    const bytes = this.#bytes
    if (bytes.length < 2) return undefined
    const short = bytes[1]!
    if (short & 0x80) this.#end("a masked frame")
    const start = short === 126 ? 4 : short === 127 ? 10 : 2
    if (bytes.length < start) return undefined
    const length = short === 126 ? bytes.readUInt16BE(2) : short === 127 ? Number(bytes.readBigUInt64BE(2)) : short
    if (length > maxFrameBytes) this.#end("a frame of more than 16 MiB")
    if (bytes.length < start + length) return undefined
    this.#bytes = bytes.subarray(start + length)
    return { first: bytes[0]!, payload: bytes.subarray(start, start + length) }
  }

  #end(why: string): void {
    this.#ended ??= why
    this.#wake?.()
    this.#socket.destroy()
  }
}
