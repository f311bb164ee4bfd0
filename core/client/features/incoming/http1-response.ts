import type { HttpHeaders, HttpVersion } from "../../../protocol/index.ts"

/*
 * Responses of a program over HTTP/1 (RFC 9112), as a stream of events. The program is the developer's own, so the reader
 * is lenient where nothing can be misunderstood (bare LF), and refuses what leaves the end of a message unclear.
 */

export interface ResponseHead {
  status: number
  version: HttpVersion
  headers: HttpHeaders
}

export interface ResponseSink {
  head(head: ResponseHead): void
  body(bytes: Uint8Array): void
  /** `reusable`: the connection may carry another request. Not called after an upgrade. */
  done(trailers: HttpHeaders | undefined, reusable: boolean): void
  /** After a 101: bytes of the new protocol. */
  tunnel(bytes: Uint8Array): void
}

const maxHeadBytes = 256 << 10
const maxLineBytes = 16 << 10
const token = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/
const nothing = Buffer.alloc(0)
const blankLine = Buffer.from("\r\n\r\n")
const bareBlankLine = Buffer.from("\n\n")

type State = "head" | "length" | "close" | "size" | "chunk" | "chunk-end" | "trailers" | "tunnel" | "done"

export class ResponseReader {
  readonly #sink: ResponseSink
  readonly #method: string
  #state: State = "head"
  /** The beginning of a head or a line whose end has not come. */
  #text: Buffer = nothing
  #left = 0
  #reusable = true
  #trailers: HttpHeaders | undefined
  #headSeen = false

  /** @param method of the request this answers: HEAD has no body */
  constructor(method: string, sink: ResponseSink) {
    this.#method = method
    this.#sink = sink
  }

  /** Anything of a final answer has arrived: the request must not be sent again. */
  get begun(): boolean {
    return this.#headSeen
  }

  get over(): boolean {
    return this.#state === "done"
  }

  /** @throws Error when the bytes are no HTTP response */
  push(chunk: Uint8Array): void {
    let rest = Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength)
    while (rest.byteLength > 0 && this.#state !== "done") rest = this.#step(rest)
    // A program that says more than it was asked for cannot be trusted with another request.
    if (rest.byteLength > 0) this.#reusable = false
  }

  /** The program sends no more. @throws Error when the response is not whole */
  end(): void {
    if (this.#state === "close") {
      this.#reusable = false
      this.#finish()
    } else if (this.#state !== "done" && this.#state !== "tunnel")
      throw new Error("the program closed the connection too early")
  }

  #step(bytes: Buffer): Buffer {
    switch (this.#state) {
      case "head":
        return this.#readHead(bytes)
      case "length":
      case "chunk": {
        const part = bytes.subarray(0, this.#left)
        this.#left -= part.byteLength
        this.#sink.body(part)
        if (this.#left === 0) {
          if (this.#state === "chunk") this.#state = "chunk-end"
          else this.#finish()
        }
        return bytes.subarray(part.byteLength)
      }
      case "close":
        this.#sink.body(bytes)
        return bytes.subarray(bytes.byteLength)
      case "tunnel":
        this.#sink.tunnel(bytes)
        return bytes.subarray(bytes.byteLength)
      default:
        return this.#readLine(bytes)
    }
  }

  #readHead(bytes: Buffer): Buffer {
    const text = this.#text.byteLength === 0 ? bytes : Buffer.concat([this.#text, bytes])
    const strict = text.indexOf(blankLine)
    const lenient = text.indexOf(bareBlankLine)
    const isStrict = strict >= 0 && (lenient < 0 || strict < lenient)
    const end = isStrict ? strict + 4 : lenient < 0 ? -1 : lenient + 2
    if (end < 0) {
      if (text.byteLength > maxHeadBytes) throw new Error("the program's response head is too long")
      this.#text = text
      return bytes.subarray(bytes.byteLength)
    }
    this.#text = nothing
    this.#begin(text.toString("latin1", 0, end).split("\n"))
    return text.subarray(end)
  }

  #begin(lines: string[]): void {
    const [, minor, code] = /^HTTP\/1\.([01]) (\d{3})(?: .*)?\r?$/.exec(lines.shift()!) ?? []
    if (code === undefined) throw new Error("the program does not speak HTTP/1")
    const status = Number(code)
    const headers: HttpHeaders = new Map()
    for (const line of lines) readField(line, headers)
    // Interim answers are between the program and us.
    if (status >= 100 && status < 200 && status !== 101) return
    this.#headSeen = true
    this.#reusable = isPersistent(headers, minor === "1")
    this.#sink.head({ status, version: minor === "1" ? "HTTP/1.1" : "HTTP/1.0", headers })
    if (status === 101) {
      this.#state = "tunnel"
      return
    }
    this.#state = this.#bodyState(status, headers)
    if (this.#state === "done") {
      this.#state = "length"
      this.#finish()
    }
  }

  #bodyState(status: number, headers: HttpHeaders): State {
    if (this.#method === "HEAD" || status === 204 || status === 304) return "done"
    const codings = headers.get("transfer-encoding")?.join(",").toLowerCase()
    if (codings !== undefined && codings !== "") {
      return codings.split(",").at(-1)!.trim() === "chunked" ? "size" : "close"
    }
    const lengths = headers.get("content-length")?.join(",").split(",")
    if (!lengths) return "close"
    const length = lengths[0]!.trim()
    if (!/^\d{1,15}$/.test(length) || lengths.some((other) => other.trim() !== length)) {
      throw new Error("the program's Content-Length is unclear")
    }
    this.#left = Number(length)
    return this.#left === 0 ? "done" : "length"
  }

  #readLine(bytes: Buffer): Buffer {
    const newline = bytes.indexOf(10)
    if (newline < 0) {
      this.#text = Buffer.concat([this.#text, bytes])
      if (this.#text.byteLength > maxLineBytes) throw new Error("a line of the program's chunked body is too long")
      return bytes.subarray(bytes.byteLength)
    }
    const line = Buffer.concat([this.#text, bytes.subarray(0, newline)])
      .toString("latin1")
      .replace(/\r$/, "")
    this.#text = nothing
    this.#takeLine(line)
    return bytes.subarray(newline + 1)
  }

  #takeLine(line: string): void {
    if (this.#state === "chunk-end") {
      if (line !== "") throw new Error("the program's chunked body is broken")
      this.#state = "size"
    } else if (this.#state === "size") {
      const size = /^([0-9a-f]{1,12})[ \t]*(?:;.*)?$/i.exec(line)?.[1]
      if (size === undefined) throw new Error("the program's chunked body is broken")
      this.#left = Number.parseInt(size, 16)
      this.#state = this.#left === 0 ? "trailers" : "chunk"
    } else if (line === "") {
      this.#finish()
    } else {
      this.#trailers ??= new Map()
      readField(line, this.#trailers)
    }
  }

  #finish(): void {
    this.#state = "done"
    this.#sink.done(this.#trailers, this.#reusable)
  }
}

/** Adds the field of one line to `headers`; an empty line has none. */
function readField(line: string, headers: HttpHeaders): void {
  if (line === "" || line === "\r") return
  const at = line.indexOf(":")
  const name = line.slice(0, at).toLowerCase()
  if (at < 1 || !token.test(name)) throw new Error("the program's response has a header that cannot be read")
  const value = withoutBlanks(line, at + 1)
  const values = headers.get(name)
  if (values) values.push(value)
  else headers.set(name, [value])
}

/** What stands from `start` on, without the spaces and tabs around it and the CR behind it. */
function withoutBlanks(line: string, start: number): string {
  let from = start
  let to = line.endsWith("\r") ? line.length - 1 : line.length
  while (from < to && isBlank(line.charCodeAt(from))) from++
  while (to > from && isBlank(line.charCodeAt(to - 1))) to--
  return line.slice(from, to)
}

const isBlank = (unit: number) => unit === 0x20 || unit === 0x09

function isPersistent(headers: HttpHeaders, isVersion11: boolean): boolean {
  const options = headers.get("connection")?.join(",").toLowerCase()
  if (options === undefined) return isVersion11
  return isVersion11 ? !/\bclose\b/.test(options) : /\bkeep-alive\b/.test(options)
}
