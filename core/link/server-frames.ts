import { AppError } from "../errors.ts"

/*
 * WebSocket frames (RFC 6455, section 5.2), the server's side: what it reads is masked, what it writes is not.
 *
 *   byte 0     FIN 0x80, reserved 0x70, opcode 0x0f
 *   byte 1     MASK 0x80, length 0-125; 126: two more bytes; 127: eight more bytes
 *   4 bytes    masking key, client to server only
 */

export const opcode = { continuation: 0, text: 1, binary: 2, close: 8, ping: 9, pong: 10 } as const

const maxControlBytes = 125
const maskBytes = 4

/** What stands before a payload of `length` bytes. */
export function frameHead(code: number, length: number, isLast = true): Uint8Array {
  const first = (isLast ? 0x80 : 0) | code
  if (length < 126) return Uint8Array.of(first, length)
  if (length < 0x1_0000) return Uint8Array.of(first, 126, length >>> 8, length)
  const head = new DataView(new ArrayBuffer(10))
  head.setUint8(0, first)
  head.setUint8(1, 127)
  head.setBigUint64(2, BigInt(length))
  return new Uint8Array(head.buffer)
}

const nothing: Uint8Array = new Uint8Array(0)

export interface FrameReceiver {
  /** One whole message: `code` is text or binary. */
  message(code: number, payload: Uint8Array): void
  /** Close, ping or pong. */
  control(code: number, payload: Uint8Array): void
}

/** Cuts a client's bytes into messages, whatever the pieces they arrive in. */
export class ServerFrameReader {
  readonly #receiver: FrameReceiver
  readonly #maxMessageBytes: number
  /** Of the frame's head, as far as it has come. */
  #head: number[] = []
  #code = 0
  #isLast = false
  #key = 0
  /** Payload bytes of the frame that have come, which is where the masking key stands; and those still to come. */
  #taken = 0
  #missing = 0
  #inFrame = false
  /** Of the message the frames belong to; 0 between messages. */
  #messageCode = 0
  #parts: Uint8Array[] = []
  #control = nothing
  #partBytes = 0

  constructor(receiver: FrameReceiver, maxMessageBytes: number) {
    this.#receiver = receiver
    this.#maxMessageBytes = maxMessageBytes
  }

  /** The chunk is unmasked in place; payloads that lie in it whole are handed on as views. @throws AppError "link-bad-frame" */
  push(chunk: Uint8Array): void {
    let at = 0
    while (at < chunk.length || (this.#inFrame && this.#missing === 0)) {
      if (!this.#inFrame) {
        this.#head.push(chunk[at++]!)
        this.#begin()
        continue
      }
      const end = Math.min(chunk.length, at + this.#missing)
      const piece = chunk.subarray(at, end)
      unmask(piece, this.#key, this.#taken)
      this.#taken += piece.length
      this.#missing -= piece.length
      at = end
      this.#add(piece)
    }
  }

  /** Looks at the head, and begins the frame when all of it is there. */
  #begin(): void {
    const head = this.#head
    if (head.length < 2) return
    if (head[0]! & 0x70 || !(head[1]! & 0x80)) throw badFrame("has a form that was not agreed on")
    const small = head[1]! & 0x7f
    const lengthBytes = small === 127 ? 8 : small === 126 ? 2 : 0
    if (head.length < 2 + lengthBytes + maskBytes) return
    let length = lengthBytes === 0 ? small : 0
    for (let i = 2; i < 2 + lengthBytes; i++) length = length * 256 + head[i]!
    const mask = head.slice(2 + lengthBytes)
    this.#head = []
    this.#code = head[0]! & 0x0f
    this.#isLast = (head[0]! & 0x80) !== 0
    this.#key = mask[0]! | (mask[1]! << 8) | (mask[2]! << 16) | (mask[3]! << 24)
    this.#check(length)
    this.#taken = 0
    this.#missing = length
    this.#inFrame = true
  }

  #check(length: number): void {
    const code = this.#code
    if (code > opcode.pong || (code > opcode.binary && code < opcode.close))
      throw badFrame(`is of unknown kind ${code}`)
    if (code >= opcode.close) {
      if (length > maxControlBytes || !this.#isLast) throw badFrame("controls with more than it may")
      return
    }
    if ((code === opcode.continuation) !== (this.#messageCode !== 0)) throw badFrame("is out of order")
    if (this.#partBytes + length > this.#maxMessageBytes) {
      throw badFrame(`makes a message longer than ${this.#maxMessageBytes} bytes`)
    }
    if (code !== opcode.continuation) this.#messageCode = code
  }

  #add(piece: Uint8Array): void {
    const isWhole = this.#missing === 0
    if (isWhole) this.#inFrame = false
    if (this.#code >= opcode.close) this.#addControl(piece, isWhole)
    else if (isWhole && this.#isLast && this.#parts.length === 0) this.#deliver(piece)
    else this.#addPart(piece, isWhole && this.#isLast)
  }

  #addPart(piece: Uint8Array, isLast: boolean): void {
    if (piece.length > 0) this.#parts.push(piece)
    this.#partBytes += piece.length
    if (!isLast) return
    const whole = Buffer.concat(this.#parts, this.#partBytes)
    this.#parts = []
    this.#partBytes = 0
    this.#deliver(whole)
  }

  /** Short enough to be collected apart from the message it may come in the middle of. */
  #addControl(piece: Uint8Array, isWhole: boolean): void {
    this.#control = this.#control.length === 0 ? piece : Buffer.concat([this.#control, piece])
    if (!isWhole) return
    const payload = this.#control
    this.#control = nothing
    this.#receiver.control(this.#code, payload)
  }

  #deliver(payload: Uint8Array): void {
    const code = this.#messageCode
    this.#messageCode = 0
    this.#receiver.message(code, payload)
  }
}

const badFrame = (what: string) => new AppError("link-bad-frame", `A WebSocket frame was received that ${what}`)

/** @param from position of the first byte in the frame's payload; the key repeats every four bytes */
function unmask(bytes: Uint8Array, key: number, from: number): void {
  if (key === 0) return
  const { length } = bytes
  // Whole words where they can be had: a byte at a time is too slow for bulk.
  const ahead = Math.min(length, -bytes.byteOffset & 3)
  const middle = (length - ahead) >> 2
  unmaskBytes(bytes, key, from, 0, ahead)
  if (middle > 0) unmaskWords(new Int32Array(bytes.buffer, bytes.byteOffset + ahead, middle), turned(key, from + ahead))
  unmaskBytes(bytes, key, from, ahead + middle * 4, length)
}

function unmaskBytes(bytes: Uint8Array, key: number, from: number, start: number, end: number): void {
  for (let at = start; at < end; at++) bytes[at]! ^= key >>> (8 * ((from + at) & 3))
}

/** Signed, because unsigned words are no small integers to the engine. Every platform of ours is little-endian. */
function unmaskWords(words: Int32Array, key: number): void {
  const { length } = words
  for (let at = 0; at < length; at++) words[at]! ^= key
}

/** The key as the word that begins at that position of the payload. */
function turned(key: number, position: number): number {
  const bits = 8 * (position & 3)
  return bits === 0 ? key : (key >>> bits) | (key << (32 - bits))
}
