/*
 * WebSocket frames (RFC 6455, section 5.2), client side.
 *
 *   byte 0     FIN 0x80, opcode 0x0f (0 continuation, 1 text, 2 binary, 8 close, 9 ping, 10 pong)
 *   byte 1     MASK 0x80, length 0-125; 126: two more bytes; 127: eight more bytes
 *   4 bytes    masking key, client to server only
 */

export const opcode = { continuation: 0, text: 1, binary: 2, close: 8, ping: 9, pong: 10 } as const

/** A frame larger than this ends the connection; Kubernetes and operators send far smaller ones. */
const maxFrameBytes = 64 << 20
const maxControlBytes = 125

/** Frames up to this size, in bytes, are made in memory that is used again: their own would be as much garbage as bulk has bytes. */
const lentBytes = 128 << 10
let lent: Uint8Array<ArrayBuffer> | undefined

function frameOf(length: number): Uint8Array<ArrayBuffer> {
  if (length > lentBytes) return new Uint8Array(length)
  lent ??= new Uint8Array(lentBytes)
  return lent.subarray(0, length)
}

/**
 * One frame of `parts`, good until the next call; `isLast`: its message ends with it. Over TLS the masking key is zero, which leaves the
 * payload as it is: masking exists to keep hostile payloads from being read as HTTP by proxies on the way, and nobody reads inside TLS.
 */
export function encodeFrame(code: number, parts: readonly Uint8Array[], mask: boolean, isLast = true): Uint8Array {
  let length = 0
  for (const part of parts) length += part.byteLength
  const lengthBytes = length < 126 ? 0 : length < 65_536 ? 2 : 8
  const start = 2 + lengthBytes + 4
  const frame = frameOf(start + length)
  const view = new DataView(frame.buffer)
  // The key of the frame before.
  view.setUint32(start - 4, 0)
  frame[0] = (isLast ? 0x80 : 0) | code
  frame[1] = 0x80 | (lengthBytes === 0 ? length : lengthBytes === 2 ? 126 : 127)
  if (lengthBytes === 2) view.setUint16(2, length)
  if (lengthBytes === 8) view.setBigUint64(2, BigInt(length))
  let at = start
  for (const part of parts) {
    frame.set(part, at)
    at += part.byteLength
  }
  if (mask) {
    const key = crypto.getRandomValues(frame.subarray(start - 4, start))
    for (let index = start; index < frame.byteLength; index++) frame[index]! ^= key[(index - start) & 3]!
  }
  return frame
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
