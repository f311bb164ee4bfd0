import { AppError } from "../errors.ts"
import type { Codec } from "./codec.ts"
import { list, tuple } from "./composites.ts"
import { bytes, str, u16 } from "./primitives.ts"
import type { Reader } from "./reader.ts"

/*
 * The parts of an HTTP message. A mirrord peer checks them while decoding and drops the whole connection over a bad
 * one, so both directions check here; what fails to decode is "protocol-bad-http", what fails to encode "protocol-bad-value".
 */

const token = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/
// biome-ignore lint/suspicious/noControlCharactersInRegex: these are the bytes a header value may not hold
const forbiddenInValue = /[\x00-\x08\x0a-\x1f\x7f\u0100-\uffff]/
// Beyond printable ASCII the reference parser lets bytes from 0x80 pass in paths and queries.
// biome-ignore lint/suspicious/noControlCharactersInRegex: these are the bytes a URI may not hold
const forbiddenInUri = /[\x00-\x20"<>\\^`#\x7f]/

/** A text that must pass `valid`. */
function checkedText(what: string, valid: (text: string) => boolean): Codec<string> {
  return {
    ...str,
    read: (reader) => must(reader.text(), valid, what, "protocol-bad-http"),
    write: (writer, text) => writer.text(must(text, valid, what, "protocol-bad-value")),
  }
}

function must<T>(value: T, valid: (value: T) => boolean, what: string, code: string): T {
  if (!valid(value)) throw new AppError(code, `${what} is not valid in an HTTP message`)
  return value
}

const isToken = (text: string) => token.test(text)
const isValue = (text: string) => !forbiddenInValue.test(text)

export const method = checkedText("A method", isToken)

/** Origin form (`/a?b`), absolute form, authority form or `*`. */
export const uri = checkedText("A URI", (text) => text !== "" && !forbiddenInUri.test(text))

const versions = ["HTTP/0.9", "HTTP/1.0", "HTTP/1.1", "HTTP/2.0", "HTTP/3.0"] as const
export type HttpVersion = (typeof versions)[number]
export const httpVersion = checkedText("A version", (text) =>
  (versions as readonly string[]).includes(text),
) as unknown as Codec<HttpVersion>

export const status: Codec<number> = {
  ...u16,
  read: (reader) => must(reader.u16(), validStatus, "A status", "protocol-bad-http"),
  write: (writer, value) => u16.write(writer, must(value, validStatus, "A status", "protocol-bad-value")),
}

function validStatus(value: number): boolean {
  return value >= 100 && value <= 999
}

/**
 * Header names (lower case, in order of first appearance) with their values in order. A value is a byte string: each
 * character from U+0000 to U+00FF is one byte, as in `fetch` and `node:http`.
 */
export type HttpHeaders = Map<string, string[]>

export const headers: Codec<HttpHeaders> = {
  minBytes: 1,
  read(reader) {
    const headers: HttpHeaders = new Map()
    for (let left = reader.count(2); left > 0; left--) {
      const name = must(reader.text(), isToken, "A header name", "protocol-bad-http").toLowerCase()
      const values = readValues(reader)
      const earlier = headers.get(name)
      if (earlier) for (const value of values) earlier.push(value)
      else if (values.length > 0) headers.set(name, values)
    }
    return headers
  },
  write(writer, headers) {
    writer.varint(headers.size)
    for (const [name, values] of headers) {
      writer.text(must(name, isToken, "A header name", "protocol-bad-value").toLowerCase())
      writer.varint(values.length)
      for (const value of values) {
        writer.byteString(must(value, isValue, "A header value", "protocol-bad-value"))
      }
    }
  },
  shape: { type: "repeat", leaf: "headers", of: tuple(str, list(bytes)) },
}

function readValues(reader: Reader): string[] {
  const values: string[] = []
  for (let left = reader.count(1); left > 0; left--) {
    values.push(must(reader.byteString(), isValue, "A header value", "protocol-bad-http"))
  }
  return values
}
