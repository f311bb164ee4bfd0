import { AppError } from "../errors.ts"

/**
 * Size of the buffers small parts are collected in, in bytes: each is twice as large as the one before, up to the limit, so
 * that a writer that is seldom used stays small. A filled part is never written again, so it may be handed out.
 */
const firstSlabBytes = 256
const largestSlabBytes = 16 * 1024
/** From this size on a payload is not copied but becomes a chunk of its own, in bytes. */
const referenceBytes = 8 * 1024
/** No part written in one piece is longer than this, except texts and payloads, in bytes. */
const longestPart = 17

const utf8 = new TextEncoder()
/** Up to here a loop over ASCII is quicker than a TextEncoder, in characters; such a length is one byte. */
const shortTextLength = 96

/** Collects encoded messages as chunks. Large payloads are chunks by reference: their owner must not change them any more. */
export class Writer {
  #chunks: Uint8Array[] = []
  #slab = new Uint8Array(0)
  /** Where in the slab the part begins that is in no chunk yet. */
  #from = 0
  #position = 0
  #chunkBytes = 0

  /** Bytes written since the last `take`. */
  get pendingBytes(): number {
    return this.#chunkBytes + this.#position - this.#from
  }

  /** Everything written since the last call. */
  take(): Uint8Array[] {
    this.#cut()
    const chunks = this.#chunks
    this.#chunks = []
    this.#chunkBytes = 0
    return chunks
  }

  /** Runs `write`; when it throws, nothing of it stays behind. */
  whole(write: () => void): void {
    const { length } = this.#chunks
    const slab = this.#slab
    const from = this.#from
    const position = this.#position
    const chunkBytes = this.#chunkBytes
    try {
      write()
    } catch (thrown) {
      this.#chunks.length = length
      this.#slab = slab
      this.#from = from
      this.#position = position
      this.#chunkBytes = chunkBytes
      throw thrown
    }
  }

  u8(value: number): void {
    this.#room(1)
    this.#slab[this.#position++] = value
  }

  /** A varint of a whole number from 0 to 2^53 - 1; the caller has checked the range of the type. */
  varint(value: number): void {
    this.#room(longestPart)
    const slab = this.#slab
    if (value < 251) slab[this.#position++] = value
    else if (value < 0x1_0000) {
      slab[this.#position++] = 251
      slab[this.#position++] = value
      slab[this.#position++] = value >>> 8
    } else if (value < 0x1_0000_0000) {
      slab[this.#position++] = 252
      this.#le32(value)
    } else {
      slab[this.#position++] = 253
      this.#le32(value % 0x1_0000_0000)
      this.#le32(Math.floor(value / 0x1_0000_0000))
    }
  }

  /** A varint of a bigint from 0 to 2^128 - 1; the caller has checked the range of the type. */
  bigVarint(value: bigint): void {
    if (value <= 0xffff_ffffn) {
      this.varint(Number(value))
      return
    }
    this.#room(longestPart)
    const words = value > 0xffff_ffff_ffff_ffffn ? 4 : 2
    this.#slab[this.#position++] = words === 4 ? 254 : 253
    for (let word = 0; word < words; word++) this.#le32(Number((value >> BigInt(32 * word)) & 0xffff_ffffn))
  }

  /** Raw bytes of fixed small length. */
  raw(bytes: Uint8Array): void {
    this.#room(bytes.length)
    this.#slab.set(bytes, this.#position)
    this.#position += bytes.length
  }

  payload(bytes: Uint8Array): void {
    this.varint(bytes.length)
    if (bytes.length < referenceBytes) this.raw(bytes)
    else {
      this.#cut()
      this.#add(bytes)
    }
  }

  text(text: string): void {
    if (text.length <= shortTextLength && this.#isAscii(text)) {
      this.byteString(text)
      return
    }
    if (!text.isWellFormed()) throw new AppError("protocol-bad-value", "Cannot send a text with half a surrogate pair")
    this.payload(utf8.encode(text))
  }

  /** A text whose every character is one byte; the caller has checked that. */
  byteString(text: string): void {
    const { length } = text
    if (length >= referenceBytes) {
      this.payload(Buffer.from(text, "latin1"))
      return
    }
    this.varint(length)
    this.#room(length)
    const slab = this.#slab
    const at = this.#position
    for (let i = 0; i < length; i++) slab[at + i] = text.charCodeAt(i)
    this.#position = at + length
  }

  #isAscii(text: string): boolean {
    for (let i = 0; i < text.length; i++) if (text.charCodeAt(i) > 127) return false
    return true
  }

  #le32(value: number): void {
    const slab = this.#slab
    slab[this.#position++] = value
    slab[this.#position++] = value >>> 8
    slab[this.#position++] = value >>> 16
    slab[this.#position++] = value >>> 24
  }

  #room(bytes: number): void {
    if (this.#position + bytes <= this.#slab.length) return
    this.#cut()
    const next = Math.min(Math.max(firstSlabBytes, this.#slab.length * 2), largestSlabBytes)
    this.#slab = new Uint8Array(Math.max(next, bytes))
    this.#from = this.#position = 0
  }

  #cut(): void {
    if (this.#from === this.#position) return
    this.#add(this.#slab.subarray(this.#from, this.#position))
    this.#from = this.#position
  }

  #add(chunk: Uint8Array): void {
    this.#chunks.push(chunk)
    this.#chunkBytes += chunk.length
  }
}
