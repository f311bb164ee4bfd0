import type { FramePart } from "../link/frame-parts.ts"
import { frameHead } from "../link/server-frames.ts"

/*
 * WebSocket frames (RFC 6455, section 5.2), client side.
 *
 *   byte 0     FIN 0x80, opcode 0x0f (0 continuation, 1 text, 2 binary, 8 close, 9 ping, 10 pong)
 *   byte 1     MASK 0x80, length 0-125; 126: two more bytes; 127: eight more bytes
 *   4 bytes    masking key, client to server only
 */

/** A frame larger than this ends the connection; Kubernetes and operators send far smaller ones. */
const maxFrameBytes = 64 << 20
const maxControlBytes = 125

const keyBytes = 4
const noKey: Uint8Array = new Uint8Array(keyBytes)

/**
 * One frame as chunks, the payload as it is when it need not be masked. Over TLS the masking key is
 * zero, which leaves the payload as it is: masking exists to keep hostile payloads from being read as HTTP by proxies on the way, and
 * nobody reads inside TLS.
 */
export function frameChunks(
  code: number,
  { parts, length, isLast }: Pick<FramePart, "parts" | "length" | "isLast">,
  mask: boolean,
): Uint8Array[] {
  const head = frameHead(code, length, isLast)
  head[1]! |= 0x80
  if (!mask) return [head, noKey, ...parts]
  const key = crypto.getRandomValues(new Uint8Array(keyBytes))
  const payload = Uint8Array.from(Buffer.concat(parts, length))
  for (let index = 0; index < length; index++) payload[index]! ^= key[index & 3]!
  return [head, key, payload]
}

export interface FrameSink {
  /**
   * A piece of a text or binary message, in order; never copied. `first`: a message begins with it; `last`: it ends.
   * Pieces with no bytes occur only as `last`.
   */
  data(piece: Uint8Array, first: boolean, last: boolean): void
  /** Close, ping or pong with its whole payload. */
  control(code: number, payload: Uint8Array): void
}

/** Cuts a byte stream into frames, whatever the pieces it arrives in. @throws Error when the bytes are no such frames */
export class FrameReader {
  readonly #sink: FrameSink
  #header: Uint8Array<ArrayBuffer> = new Uint8Array(10)
  #headerLength = 0
  #code = 0
  #fin = false
  /** Payload bytes of the current frame still to come; negative: a header is being read. */
  #missing = -1
  #first = true
  #control: Uint8Array = new Uint8Array(0)

  constructor(sink: FrameSink) {
    this.#sink = sink
  }

  push(chunk: Uint8Array): void {
    let at = 0
    while (at < chunk.byteLength || this.#missing === 0) {
      if (this.#missing < 0) {
        at = this.#readHeader(chunk, at)
        if (this.#missing < 0) return
        continue
      }
      const end = Math.min(chunk.byteLength, at + this.#missing)
      this.#missing -= end - at
      this.#deliver(chunk.subarray(at, end))
      at = end
      if (this.#missing === 0) this.#missing = -1
    }
  }

  #readHeader(chunk: Uint8Array, from: number): number {
    let at = from
    while (at < chunk.byteLength) {
      this.#header[this.#headerLength++] = chunk[at++]!
      if (this.#headerLength < 2) continue
      const small = this.#header[1]! & 0x7f
      const needed = small === 127 ? 10 : small === 126 ? 4 : 2
      if (this.#headerLength < needed) continue
      this.#begin(small)
      return at
    }
    return at
  }

  #begin(small: number): void {
    const view = new DataView(this.#header.buffer)
    const length = small === 127 ? Number(view.getBigUint64(2)) : small === 126 ? view.getUint16(2) : small
    const code = this.#header[0]! & 0x0f
    this.#headerLength = 0
    if (this.#header[0]! & 0x70 || this.#header[1]! & 0x80)
      throw new Error("the server sent a frame of an unknown form")
    if (length > maxFrameBytes)
      throw new Error(`the server sent a frame of ${length} bytes, over the limit of ${maxFrameBytes}`)
    if (code >= 8 && length > maxControlBytes) throw new Error("the server sent a control frame that is too long")
    if (code > 10 || (code > 2 && code < 8)) throw new Error(`the server sent a frame of unknown kind ${code}`)
    if (code < 8 && (code === 0) === this.#first)
      throw new Error("the server sent the frames of a message out of order")
    this.#code = code
    this.#fin = (this.#header[0]! & 0x80) !== 0
    this.#missing = length
    this.#control = new Uint8Array(0)
  }

  #deliver(piece: Uint8Array): void {
    const whole = this.#missing === 0
    if (this.#code >= 8) {
      this.#control = this.#control.byteLength === 0 ? piece : Buffer.concat([this.#control, piece])
      if (whole) this.#sink.control(this.#code, this.#control)
      return
    }
    const last = whole && this.#fin
    const first = this.#first
    this.#first = last
    if (piece.byteLength > 0 || last) this.#sink.data(piece, first, last)
  }
}
