/** How the end of a message body is found (RFC 9112, section 6). */
export type BodyKind = { kind: "none" } | { kind: "length"; bytes: number } | { kind: "chunked" }

export interface RequestHead {
  method: string
  target: string
  version: "HTTP/1.0" | "HTTP/1.1"
  /** As sent, but without space around the values. Each character is one byte. */
  headers: [name: string, value: string][]
  /** Offset of the first byte behind the empty line. */
  end: number
  body: BodyKind
  /** Does the caller expect to send more requests on this connection? */
  keepAlive: boolean
  upgrade: boolean
  /** The settings (RFC 7540, section 3.2.1) of a caller that would go on with HTTP/2; undefined: it would not. */
  http2Settings: Buffer | undefined
  expectContinue: boolean
}

/** `odd`: two parties might read these bytes differently, so nobody but the application may interpret them. */
export type ParsedHead = RequestHead | "incomplete" | "odd"

/** Longest request line and headers that are looked at. */
export const maxHeadBytes = 64 << 10
const maxHeaders = 256

const requestLine = /^([!#$%&'*+\-.^_`|~0-9A-Za-z]+) ([\x21-\x7e\x80-\xff]+) (HTTP\/1\.[01])$/
/** Whatever may still become a request line (a CR may be the first half of its end). */
const requestLineBeginning = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+(?: [\x21-\x7e\x80-\xff]*(?: H?T?T?P?\/?[\d.]*\r?)?)?$/
const token = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/
// biome-ignore lint/suspicious/noControlCharactersInRegex: these are the bytes a header line may not hold
const forbidden = /[\x00-\x08\x0a-\x1f\x7f]/
const contentLength = /^\d{1,15}$/
const none: BodyKind = { kind: "none" }
const chunked: BodyKind = { kind: "chunked" }

/**
 * Reads one request head at `start`, strictly: what RFC 9112 lets a server repair (bare LF, folded lines, space before the colon,
 * several lengths, a length beside a transfer encoding…) is `odd`, because repairs differ and smuggling lives in the difference.
 */
export function parseRequestHead(bytes: Buffer, start: number): ParsedHead {
  const headEnd = bytes.indexOf("\r\n\r\n", start, "latin1")
  if (headEnd === -1) return unfinished(bytes, start)
  if (headEnd - start > maxHeadBytes) return "odd"
  const lines = bytes.toString("latin1", start, headEnd).split("\r\n")
  const [, method, target, version] = requestLine.exec(lines[0]!) ?? []
  if (!method || !target || lines.length > maxHeaders) return "odd"
  const facts = new HeaderFacts()
  const headers: [string, string][] = []
  for (let index = 1; index < lines.length; index++) {
    const line = lines[index]!
    const colon = line.indexOf(":")
    if (colon < 1 || forbidden.test(line)) return "odd"
    const name = line.slice(0, colon)
    if (!token.test(name)) return "odd"
    const value = trimmed(line, colon + 1)
    headers.push([name, value])
    if (!facts.take(name, value)) return "odd"
  }
  const isNew = version === "HTTP/1.1"
  if (!facts.plausible(isNew)) return "odd"
  return {
    method,
    target,
    version: isNew ? "HTTP/1.1" : "HTTP/1.0",
    headers,
    end: headEnd + 4,
    body: facts.chunked ? chunked : facts.length > 0 ? { kind: "length", bytes: facts.length } : none,
    keepAlive: isNew ? !facts.close : facts.keepAlive,
    upgrade: facts.upgrade !== "",
    http2Settings: facts.upgrade === "h2c" ? http2Settings(headers) : undefined,
    expectContinue: facts.expectContinue,
  }
}

/** The bytes of a head with another target and other headers. */
export function encodeRequestHead(
  { method, version }: RequestHead,
  target: string,
  headers: readonly (readonly [name: string, value: string])[],
): Buffer {
  const lines = headers.map(([name, value]) => `${name}: ${value}\r\n`)
  return Buffer.from(`${method} ${target} ${version}\r\n${lines.join("")}\r\n`, "latin1")
}

/** What the head says about framing; most names are dismissed by their length. */
class HeaderFacts {
  length = -1
  chunked = false
  close = false
  keepAlive = false
  upgrade = ""
  expectContinue = false
  #hosts = 0

  /** False: contradictory or not understood. */
  take(name: string, value: string): boolean {
    switch (name.length) {
      case 4:
        if (name.toLowerCase() === "host") this.#hosts++
        return true
      case 6:
        if (name.toLowerCase() === "expect") this.expectContinue = value.toLowerCase() === "100-continue"
        return true
      case 7:
        if (name.toLowerCase() === "upgrade") this.upgrade = value.toLowerCase() || "nothing"
        return true
      case 10:
        if (name.toLowerCase() === "connection") {
          const options = value.toLowerCase()
          this.close ||= options.includes("close")
          this.keepAlive ||= options.includes("keep-alive")
        }
        return true
      case 14:
        if (name.toLowerCase() !== "content-length") return true
        if (this.length !== -1 || !contentLength.test(value)) return false
        this.length = Number(value)
        return true
      case 17:
        if (name.toLowerCase() !== "transfer-encoding") return true
        if (this.chunked || value.toLowerCase() !== "chunked") return false
        this.chunked = true
        return true
      default:
        return true
    }
  }

  plausible(isNew: boolean): boolean {
    if (this.chunked && (this.length !== -1 || !isNew)) return false
    return isNew ? this.#hosts === 1 : this.#hosts <= 1
  }
}

function http2Settings(headers: readonly (readonly [name: string, value: string])[]): Buffer | undefined {
  const found = headers.filter(([name]) => name.toLowerCase() === "http2-settings")
  return found.length === 1 ? Buffer.from(found[0]![1], "base64url") : undefined
}

/** No end of the head in sight: does it look as if there will be one? */
function unfinished(bytes: Buffer, start: number): ParsedHead {
  if (bytes.length - start > maxHeadBytes) return "odd"
  const lineEnd = bytes.indexOf("\r\n", start, "latin1")
  const line = bytes.toString("latin1", start, lineEnd === -1 ? bytes.length : lineEnd)
  if (!(lineEnd === -1 ? requestLineBeginning : requestLine).test(line)) return "odd"
  for (let at = bytes.indexOf(10, start); at !== -1; at = bytes.indexOf(10, at + 1)) {
    if (at === start || bytes[at - 1] !== 13) return "odd"
  }
  return "incomplete"
}

/** Without the spaces and tabs around it. */
function trimmed(line: string, start: number): string {
  let from = start
  let to = line.length
  while (from < to && isBlank(line.charCodeAt(from))) from++
  while (to > from && isBlank(line.charCodeAt(to - 1))) to--
  return line.slice(from, to)
}

const isBlank = (unit: number) => unit === 0x20 || unit === 0x09
