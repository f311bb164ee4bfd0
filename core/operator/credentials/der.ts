import { AppError } from "../../errors.ts"

/*
 * DER (X.690), as little as certificates need.
 * element = tag byte, length (one byte below 128, else 0x80|n and n bytes, big-endian), content
 */

export const Tag = {
  boolean: 0x01,
  integer: 0x02,
  bitString: 0x03,
  octetString: 0x04,
  null: 0x05,
  oid: 0x06,
  utf8String: 0x0c,
  sequence: 0x30,
  set: 0x31,
  utcTime: 0x17,
  generalizedTime: 0x18,
} as const

export interface Element {
  tag: number
  content: Uint8Array
  /** The element with its tag and length, as it stood in the input. */
  raw: Uint8Array
}

/** Deepest length field read: 2^24 - 1 bytes. Certificates are a few hundred. */
const maxLengthBytes = 3

const malformed = (why: string) => new AppError("bad-der", `Malformed DER: ${why}`)

/** Reads the element at `offset`. @throws AppError "bad-der" */
export function readElement(bytes: Uint8Array, offset = 0): Element {
  const tag = bytes[offset]
  const first = bytes[offset + 1]
  if (tag === undefined || first === undefined) throw malformed("it ends inside a header")
  if ((tag & 0x1f) === 0x1f) throw malformed("long tags are not used here")
  let start = offset + 2
  let length = first
  if (first >= 0x80) {
    const count = first & 0x7f
    if (count === 0 || count > maxLengthBytes) throw malformed("unsupported length")
    length = 0
    for (let i = 0; i < count; i++) {
      const byte = bytes[start + i]
      if (byte === undefined) throw malformed("it ends inside a length")
      length = length * 256 + byte
    }
    start += count
  }
  const end = start + length
  if (end > bytes.length) throw malformed("it ends inside an element")
  return { tag, content: bytes.subarray(start, end), raw: bytes.subarray(offset, end) }
}

/** Reads the elements that fill `content` exactly. */
export function readElements(content: Uint8Array): Element[] {
  const elements: Element[] = []
  for (let offset = 0; offset < content.length; ) {
    const element = readElement(content, offset)
    elements.push(element)
    offset += element.raw.length
  }
  return elements
}

/** The children of `element`, which must have `tag`. */
export function children(element: Element | undefined, tag: number = Tag.sequence): Element[] {
  return readElements(contentOf(element, tag))
}

/** The content of `element`, which must have `tag`. */
export function contentOf(element: Element | undefined, tag: number): Uint8Array {
  if (element?.tag !== tag) throw malformed(`tag ${element?.tag ?? "none"} where ${tag} belongs`)
  return element.content
}

/** The bytes of a BIT STRING, which must be whole bytes. */
export function bitString(element: Element | undefined): Uint8Array {
  const content = contentOf(element, Tag.bitString)
  if (content[0] !== 0) throw malformed("a bit string with a part of a byte")
  return content.subarray(1)
}

export function der(tag: number, ...parts: Uint8Array[]): Uint8Array {
  const length = parts.reduce((sum, part) => sum + part.length, 0)
  return join([Uint8Array.of(tag), lengthBytes(length), ...parts])
}

export const sequence = (...parts: Uint8Array[]) => der(Tag.sequence, ...parts)
export const set = (...parts: Uint8Array[]) => der(Tag.set, ...parts)
export const octets = (content: Uint8Array) => der(Tag.octetString, content)
export const bits = (content: Uint8Array) => der(Tag.bitString, Uint8Array.of(0), content)
export const utf8 = (text: string) => der(Tag.utf8String, new TextEncoder().encode(text))
export const nothing = () => der(Tag.null)
export const truth = () => der(Tag.boolean, Uint8Array.of(0xff))
/** Context-specific constructed element. */
export const context = (number: number, ...parts: Uint8Array[]) => der(0xa0 | number, ...parts)

/** A non-negative INTEGER from its big-endian bytes. */
export function integer(bytes: Uint8Array): Uint8Array {
  let start = 0
  while (start < bytes.length - 1 && bytes[start] === 0) start++
  const trimmed = bytes.subarray(start)
  return (trimmed[0] ?? 0) >= 0x80 ? der(Tag.integer, Uint8Array.of(0), trimmed) : der(Tag.integer, trimmed)
}

/** `"1.3.101.112"` as an OBJECT IDENTIFIER. */
export function oid(dotted: string): Uint8Array {
  const [first = 0, second = 0, ...rest] = dotted.split(".").map(Number)
  return der(Tag.oid, Uint8Array.from([first * 40 + second, ...rest.flatMap(base128)]))
}

/** UTCTime until 2049, GeneralizedTime after, as RFC 5280 wants it. */
export function time(date: Date): Uint8Array {
  const digits = date.toISOString().replace(/[-:T]|\.\d+/g, "")
  const ascii = (text: string) => new TextEncoder().encode(text)
  return date.getUTCFullYear() < 2050
    ? der(Tag.utcTime, ascii(digits.slice(2)))
    : der(Tag.generalizedTime, ascii(digits))
}

/** The moment a UTCTime or GeneralizedTime names. */
export function readTime(element: Element | undefined): Date {
  const text = new TextDecoder().decode(element?.content)
  const digits = element?.tag === Tag.utcTime ? (Number(text.slice(0, 2)) < 50 ? "20" : "19") + text : text
  const match = /^(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)Z$/.exec(digits)
  if (!match) throw malformed("a time that cannot be read")
  const [, year, month, day, hour, minute, second] = match
  return new Date(`${year}-${month}-${day}T${hour}:${minute}:${second}Z`)
}

export function join(parts: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0))
  let offset = 0
  for (const part of parts) {
    whole.set(part, offset)
    offset += part.length
  }
  return whole
}

function lengthBytes(length: number): Uint8Array {
  if (length < 0x80) return Uint8Array.of(length)
  const bytes: number[] = []
  for (let rest = length; rest > 0; rest = Math.floor(rest / 256)) bytes.unshift(rest % 256)
  return Uint8Array.of(0x80 | bytes.length, ...bytes)
}

function base128(number: number): number[] {
  const bytes = [number & 0x7f]
  for (let rest = number >>> 7; rest > 0; rest >>>= 7) bytes.unshift(0x80 | (rest & 0x7f))
  return bytes
}
