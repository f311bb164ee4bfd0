import { AppError } from "../errors.ts"
import { defaultLimits, type Limits } from "./limits.ts"

/** Thrown (never leaves this folder) when the bytes end inside a message; `Reader.needed` tells how many it needs at least. */
export const incomplete = { incomplete: true } as const

const strictUtf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true })
/** Up to here it is quicker to see that a text is ASCII than to have a TextDecoder look, in bytes. */
const shortTextBytes = 64

/**
 * A cursor over one chunk. Integers are "varints": below 251 the byte itself, else a marker and a fixed
 * little-endian width: fb 2 bytes, fc 4, fd 8, fe 16; a marker wider than the field's type is an error.
 */
export class Reader {
  readonly bytes: Uint8Array
  position = 0
  /** Fewest bytes the message at `start` has, known after `incomplete` was thrown. */
  needed = 0
  /** The payload the bytes end in: where its length stands, where it begins, and its size; size 0: they end elsewhere. */
  readonly cut = { lengthAt: 0, from: 0, bytes: 0 }
  #start = 0
  #items = 0
  #depth = 0
  /** The same bytes as a Buffer, which makes texts of any part without a view of it; there once a text was read. */
  #texts: Buffer | undefined
  readonly #limits: Limits

  constructor(bytes: Uint8Array, limits: Limits = defaultLimits) {
    // Views of a Buffer are Buffers, which cost more and are not what the types promise.
    this.bytes = bytes.constructor === Uint8Array ? bytes : new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.length)
    this.#limits = limits
  }

  /** Says that a new message begins at `position`. */
  begin(): void {
    this.#start = this.position
    this.cut.bytes = 0
    this.#items = 0
    this.#depth = 0
  }

  u8(): number {
    if (this.position >= this.bytes.length) this.#short(1)
    return this.bytes[this.position++]!
  }

  /** A varint of at most 16 bits. */
  u16(): number {
    const first = this.u8()
    if (first < 251) return first
    if (first === 251) return this.#le16()
    throw wide("u16", first)
  }

  /** A varint of at most 32 bits. */
  u32(): number {
    const first = this.u8()
    if (first < 251) return first
    if (first === 251) return this.#le16()
    if (first === 252) return this.#le32()
    throw wide("u32", first)
  }

  u64(): bigint {
    const first = this.u8()
    if (first < 251) return BigInt(first)
    if (first === 251) return BigInt(this.#le16())
    if (first === 252) return BigInt(this.#le32())
    if (first === 253) return this.#le64()
    throw wide("u64", first)
  }

  u128(): bigint {
    const first = this.u8()
    if (first < 251) return BigInt(first)
    if (first === 251) return BigInt(this.#le16())
    if (first === 252) return BigInt(this.#le32())
    if (first === 253) return this.#le64()
    if (first === 254) {
      this.#need(16)
      const low = this.#le64()
      return (this.#le64() << 64n) | low
    }
    throw wide("u128", first)
  }

  /** A 64-bit count; anything that cannot be within the limits is refused at once. */
  #length(): number {
    const first = this.u8()
    if (first < 251) return first
    if (first === 251) return this.#le16()
    if (first === 252) return this.#le32()
    if (first !== 253) throw wide("length", first)
    const length = this.#le64()
    if (length > BigInt(this.#limits.maxMessageBytes)) throw tooLarge(length, this.#limits.maxMessageBytes)
    return Number(length)
  }

  /** Number of elements of a collection, each of at least `minBytes`. */
  count(minBytes: number): number {
    const count = this.#length()
    if ((this.#items += count) > this.#limits.maxItems) {
      throw new AppError("protocol-too-many", `A message with more than ${this.#limits.maxItems} elements was received`)
    }
    this.#need(count * minBytes)
    return count
  }

  /** `length` raw bytes, not copied. */
  raw(length: number): Uint8Array {
    return this.bytes.subarray(this.#take(length), this.position)
  }

  /** Length-prefixed bytes, not copied. */
  payload(): Uint8Array {
    const lengthAt = this.position
    const length = this.#length()
    if (this.position + length > this.bytes.length) {
      this.cut.lengthAt = lengthAt
      this.cut.from = this.position
      this.cut.bytes = length
    }
    return this.raw(length)
  }

  text(): string {
    const from = this.#take(this.#length())
    const to = this.position
    return to - from <= shortTextBytes && this.#isAscii(from, to)
      ? this.#latin1(from, to)
      : decodeUtf8(this.bytes.subarray(from, to))
  }

  /** Length-prefixed bytes as a text whose every character is one of them. */
  byteString(): string {
    const from = this.#take(this.#length())
    return this.#latin1(from, this.position)
  }

  /** Runs `read` one level deeper in a type that contains itself. */
  nested<T>(read: (reader: Reader) => T): T {
    if (++this.#depth > this.#limits.maxNesting) throw tooDeep(this.#limits.maxNesting)
    const value = read(this)
    this.#depth--
    return value
  }

  /** Passes over `length` bytes; where they begin. */
  #take(length: number): number {
    this.#need(length)
    const from = this.position
    this.position = from + length
    return from
  }

  #isAscii(from: number, to: number): boolean {
    for (let at = from; at < to; at++) if (this.bytes[at]! > 127) return false
    return true
  }

  #latin1(from: number, to: number): string {
    const { buffer, byteOffset, length } = this.bytes
    this.#texts ??= Buffer.from(buffer, byteOffset, length)
    return this.#texts.toString("latin1", from, to)
  }

  #need(length: number): void {
    if (this.position + length > this.bytes.length) this.#short(length)
  }

  #short(length: number): never {
    this.needed = this.position + length - this.#start
    if (this.needed > this.#limits.maxMessageBytes) throw tooLarge(this.needed, this.#limits.maxMessageBytes)
    throw incomplete
  }

  #le16(): number {
    this.#need(2)
    const { bytes, position } = this
    this.position = position + 2
    return bytes[position]! | (bytes[position + 1]! << 8)
  }

  #le32(): number {
    this.#need(4)
    const { bytes, position } = this
    this.position = position + 4
    const high = (bytes[position + 2]! | (bytes[position + 3]! << 8)) * 65536
    return high + (bytes[position]! | (bytes[position + 1]! << 8))
  }

  #le64(): bigint {
    this.#need(8)
    const low = this.#le32()
    const high = this.#le32()
    return (BigInt(high) << 32n) | BigInt(low)
  }
}

export function tooDeep(maxNesting: number): AppError {
  return new AppError("protocol-too-deep", `A message nested deeper than ${maxNesting} levels was received`)
}

export function tooLarge(bytes: number | bigint, maxMessageBytes: number): AppError {
  return new AppError(
    "protocol-too-large",
    `A message of at least ${bytes} bytes exceeds the limit of ${maxMessageBytes}`,
  )
}

export function wide(type: string, marker: number): AppError {
  return new AppError("protocol-wide-integer", `Integer marker 0x${marker.toString(16)} is too wide for ${type}`)
}

function decodeUtf8(bytes: Uint8Array): string {
  try {
    return strictUtf8.decode(bytes)
  } catch (cause) {
    throw new AppError("protocol-bad-text", "A text that is not UTF-8 was received", { cause })
  }
}
