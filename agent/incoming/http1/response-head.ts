import { STATUS_CODES } from "node:http"
import type { HttpHeaders } from "../../../core/protocol/index.ts"
import { endedPage } from "../share-link/ended-page.ts"

/** How the end of an answer is shown to the caller. */
export type Framing = { kind: "none" } | { kind: "length"; bytes: number } | { kind: "chunked" } | { kind: "close" }

export interface ResponseMarks {
  /** Adds `Mirrord-Agent: forwarded-to-client`, or `passed-through` to the application's own answer. */
  inject: boolean
  /** Replaces `Cache-Control`, so that no cache keeps what a developer's machine answered; the application's own answers stay as they are. */
  overrideCacheControl: boolean
  /** Appended as a cookie of the agent's own. */
  setCookie?: string | undefined
}

/** Decided here for this connection, whatever the answer says about the one it came from. */
const dropped = new Set(["transfer-encoding", "content-length", "connection", "keep-alive", "proxy-connection"])

/** `keepAlive`: may the caller go on using the connection? */
export function encodeResponseHead(
  status: number,
  headers: HttpHeaders,
  framing: Framing,
  keepAlive: boolean,
  marks: ResponseMarks,
): Buffer {
  const upgrading = status === 101
  let head = `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? "Unknown"}\r\n`
  for (const [name, values] of headers) {
    if (dropped.has(name) && !(upgrading && name === "connection")) continue
    if (name === "cache-control" && marks.overrideCacheControl && !upgrading) continue
    for (const value of values) head += `${name}: ${value}\r\n`
  }
  if (!upgrading) {
    if (marks.overrideCacheControl) head += "cache-control: no-cache, no-store, must-revalidate\r\n"
    if (framing.kind === "length") head += `content-length: ${framing.bytes}\r\n`
    if (framing.kind === "chunked") head += "transfer-encoding: chunked\r\n"
    if (framing.kind === "none") head += lengthWithoutBody(status, headers)
    if (!keepAlive) head += "connection: close\r\n"
  }
  if (marks.setCookie !== undefined) head += `set-cookie: ${marks.setCookie}\r\n`
  if (marks.inject) head += "mirrord-agent: forwarded-to-client\r\n"
  return Buffer.from(`${head}\r\n`, "latin1")
}

/** What the application's own answer carries besides, as whole lines; undefined: nothing. */
export function passedLines({ inject }: ResponseMarks, setCookie: string | undefined): string | undefined {
  const cookie = setCookie === undefined ? "" : `set-cookie: ${setCookie}\r\n`
  return `${cookie}${inject ? "mirrord-agent: passed-through\r\n" : ""}` || undefined
}

/** The answer to HEAD and a 304 may tell how long the body would be. */
function lengthWithoutBody(status: number, headers: HttpHeaders): string {
  const [length] = headers.get("content-length") ?? []
  return status !== 204 && length !== undefined ? `content-length: ${length}\r\n` : ""
}

export function encodeTrailers(trailers: HttpHeaders | undefined): Buffer {
  let text = "0\r\n"
  for (const [name, values] of trailers ?? []) for (const value of values) text += `${name}: ${value}\r\n`
  return Buffer.from(`${text}\r\n`, "latin1")
}

const crlf = Buffer.from("\r\n")
/** One chunk; `bytes` is not empty. */
export const encodeChunk = (bytes: Uint8Array): Uint8Array[] => [
  Buffer.from(`${bytes.length.toString(16)}\r\n`),
  bytes,
  crlf,
]

/** The answer to a shared link whose session is over; the connection ends with it. `path` is where it leads without the session. */
export function endedAnswer(method: string, { path, setCookie }: { path: string; setCookie: string }): Buffer {
  const page = endedPage(path)
  const head = `HTTP/1.1 200 OK\r\ncontent-type: text/html; charset=utf-8\r\ncache-control: no-store\r\nset-cookie: ${setCookie}\r\ncontent-length: ${page.length}\r\nconnection: close\r\n\r\n`
  return method === "HEAD" ? Buffer.from(head) : Buffer.concat([Buffer.from(head), page])
}

/** A whole answer of the agent itself; the connection ends with it. */
export function agentAnswer(status: number, reason: string): Buffer {
  const text = `podside agent: ${reason}\n`
  return Buffer.from(
    `HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: ${Buffer.byteLength(text)}\r\nconnection: close\r\n\r\n${text}`,
  )
}
