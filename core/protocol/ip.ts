import { badValue } from "./primitives.ts"

/*
 * IP addresses as text and as network-order bytes (4 or 16). Texts are printed the one recommended way (RFC 5952),
 * with IPv4-mapped addresses as "::ffff:1.2.3.4".
 */

const zero = 48
const dot = 46

export function formatIp(bytes: Uint8Array): string {
  // Ten times as quick as a join.
  return bytes.length === 4 ? `${bytes[0]}.${bytes[1]}.${bytes[2]}.${bytes[3]}` : formatIpv6(bytes)
}

/** @throws AppError "protocol-bad-value" */
export function parseIp(text: string): Uint8Array {
  const bytes = text.includes(":") ? parseIpv6(text) : parseIpv4(text)
  if (bytes === undefined) throw badValue(`"${text}" as an IP address`)
  return bytes
}

/** Character by character: every connection brings several addresses. */
function parseIpv4(text: string): Uint8Array | undefined {
  const bytes = new Uint8Array(4)
  let [part, value, digits] = [0, 0, 0]
  for (let at = 0; at <= text.length; at++) {
    const digit = text.charCodeAt(at) - zero
    if (at === text.length || digit === dot - zero) {
      if (digits === 0 || part === 4) return undefined
      bytes[part++] = value
      value = digits = 0
      continue
    }
    const isDigit = digit >= 0 && digit <= 9
    // No zero in front of other digits, which some read as octal.
    if (!isDigit || (digits > 0 && value === 0)) return undefined
    value = value * 10 + digit
    digits++
    if (value > 255) return undefined
  }
  return part === 4 ? bytes : undefined
}

function parseIpv6(text: string): Uint8Array | undefined {
  const halves = text.split("::")
  if (halves.length > 2) return undefined
  const head = groups(halves[0]!)
  const tail = halves.length === 2 ? groups(halves[1]!) : []
  if (head === undefined || tail === undefined) return undefined
  const missing = 8 - head.length - tail.length
  if (halves.length === 2 ? missing < 1 : missing !== 0) return undefined
  const all = [...head, ...new Array<number>(missing).fill(0), ...tail]
  return Uint8Array.from(all.flatMap((group) => [group >>> 8, group & 255]))
}

/** The 16-bit groups of one side of "::"; the last may be an IPv4 address, which makes two. */
function groups(text: string): number[] | undefined {
  if (text === "") return []
  const out: number[] = []
  const parts = text.split(":")
  for (const [index, part] of parts.entries()) {
    if (part.includes(".")) {
      const v4 = index === parts.length - 1 ? parseIpv4(part) : undefined
      if (v4 === undefined) return undefined
      out.push((v4[0]! << 8) | v4[1]!, (v4[2]! << 8) | v4[3]!)
    } else if (/^[0-9a-fA-F]{1,4}$/.test(part)) out.push(Number.parseInt(part, 16))
    else return undefined
  }
  return out
}

function formatIpv6(bytes: Uint8Array): string {
  const words = Array.from({ length: 8 }, (_, index) => (bytes[2 * index]! << 8) | bytes[2 * index + 1]!)
  if (words.slice(0, 5).every((word) => word === 0) && words[5] === 0xffff) {
    return `::ffff:${bytes.subarray(12).join(".")}`
  }
  const gap = longestZeros(words)
  const hex = (from: number, to: number) =>
    words
      .slice(from, to)
      .map((word) => word.toString(16))
      .join(":")
  return gap.length < 2 ? hex(0, 8) : `${hex(0, gap.start)}::${hex(gap.start + gap.length, 8)}`
}

function longestZeros(words: readonly number[]): { start: number; length: number } {
  let best = { start: 0, length: 0 }
  let length = 0
  for (const [index, word] of words.entries()) {
    length = word === 0 ? length + 1 : 0
    if (length > best.length) best = { start: index - length + 1, length }
  }
  return best
}
