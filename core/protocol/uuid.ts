import type { Codec } from "./codec.ts"
import { badValue, u128 } from "./primitives.ts"

/** Marker of a varint of 16 bytes, lowest first. */
const marker16 = 254
const uuidBytes = 16
const hexOf = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, "0"))
/** Where the two digits of each byte stand, the lowest byte first. */
const digitsAt = [34, 32, 30, 28, 26, 24, 21, 19, 16, 14, 11, 9, 6, 4, 2, 0] as const
const dash = 45
const number = new Uint8Array(uuidBytes)

/**
 * A UUID in its usual text form; on the wire its number as u128. Nearly all of them take 16 bytes, which are read and written without
 * making a number of them: every connection brings two.
 */
export const uid: Codec<string> = {
  minBytes: u128.minBytes,
  read(reader) {
    if (reader.bytes[reader.position] !== marker16) return format(bytesOf(u128.read(reader)))
    reader.u8()
    return format(reader.raw(uuidBytes))
  },
  write(writer, text) {
    if (!parse(text)) throw badValue(`"${text}" as a UUID`)
    if (number.subarray(uuidBytes / 2).some((byte) => byte !== 0)) {
      writer.u8(marker16)
      writer.raw(number)
    } else u128.write(writer, BigInt(`0x${text.replaceAll("-", "")}`))
  },
  shape: u128.shape,
}

function format(bytes: Uint8Array): string {
  const hex = (from: number, to: number) => {
    let text = ""
    for (let at = from; at >= to; at--) text += hexOf[bytes[at]!]!
    return text
  }
  return `${hex(15, 12)}-${hex(11, 10)}-${hex(9, 8)}-${hex(7, 6)}-${hex(5, 0)}`
}

function bytesOf(value: bigint): Uint8Array {
  const bytes = Buffer.alloc(uuidBytes)
  bytes.writeBigUInt64LE(value & 0xffff_ffff_ffff_ffffn, 0)
  bytes.writeBigUInt64LE(value >> 64n, uuidBytes / 2)
  return bytes
}

/** Leaves the number in `number`; false when the text is no UUID. */
function parse(text: string): boolean {
  if (text.length !== 36) return false
  for (const at of [8, 13, 18, 23]) if (text.charCodeAt(at) !== dash) return false
  for (let index = 0; index < uuidBytes; index++) {
    const at = digitsAt[index]!
    const high = digit(text.charCodeAt(at))
    const low = digit(text.charCodeAt(at + 1))
    if (high < 0 || low < 0) return false
    number[index] = (high << 4) | low
  }
  return true
}

/** Value of a hexadecimal digit, negative when it is none. */
function digit(code: number): number {
  if (code >= 48 && code <= 57) return code - 48
  const letter = code | 32
  return letter >= 97 && letter <= 102 ? letter - 87 : -1
}
