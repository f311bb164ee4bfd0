import type { HttpHeaders } from "../../../protocol/index.ts"

export interface RequestHead {
  method: string
  /** Origin form for HTTP/1. */
  uri: string
  headers: HttpHeaders
}

const crlf = Buffer.from("\r\n")
const lastChunk = Buffer.from("0\r\n")

/** How the body of a request is told from what follows. */
export type BodyFraming = "none" | "length" | "chunked"

/** Writes requests as the caller made them: same names, values and order, only the framing is what is really sent. */
export function encodeRequestHead(head: RequestHead, hasBody: boolean): { bytes: Buffer; framing: BodyFraming } {
  const isChunked = /\bchunked\s*$/i.test((head.headers.get("transfer-encoding") ?? []).join(","))
  const framing: BodyFraming = isChunked
    ? "chunked"
    : head.headers.has("content-length")
      ? "length"
      : hasBody
        ? "chunked"
        : "none"
  let text = `${head.method} ${head.uri} HTTP/1.1\r\n`
  for (const [name, values] of head.headers) for (const value of values) text += `${name}: ${value}\r\n`
  if (framing === "chunked" && !isChunked) text += "transfer-encoding: chunked\r\n"
  return { bytes: Buffer.from(`${text}\r\n`, "latin1"), framing }
}

export function encodeBody(framing: BodyFraming, data: Uint8Array): Uint8Array[] {
  if (data.byteLength === 0) return []
  if (framing !== "chunked") return [data]
  return [Buffer.from(`${data.byteLength.toString(16)}\r\n`), data, crlf]
}

export function encodeBodyEnd(framing: BodyFraming, trailers: HttpHeaders | undefined): Uint8Array[] {
  if (framing !== "chunked") return []
  let text = ""
  for (const [name, values] of trailers ?? []) for (const value of values) text += `${name}: ${value}\r\n`
  return [lastChunk, Buffer.from(`${text}\r\n`, "latin1")]
}
