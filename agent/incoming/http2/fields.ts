import type { HttpHeaders } from "../../../core/protocol/index.ts"
import { headerMap, type OutgoingRequest } from "../claimed-request.ts"
import { isForClients } from "../client-uri.ts"
import type { ResponseMarks } from "../http1/response-head.ts"
import type { HeaderField } from "./hpack.ts"

export interface RequestFields {
  method: string
  path: string
  scheme: string
  authority: string
  headers: HeaderField[]
  /** Of a shared link, for the answer. */
  setCookie?: string | undefined
}

const name = /^[!#$%&'*+\-.^_`|~0-9a-z]+$/
// biome-ignore lint/suspicious/noControlCharactersInRegex: these are the bytes a header value may not hold
const forbidden = /[\x00-\x08\x0a-\x1f\x7f]/
const methodText = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/
const hopByHop = new Set(["connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"])

/** The request these fields make, or undefined when they make none a client could be given (RFC 9113, section 8.2 and 8.3). */
export function readRequestFields(fields: readonly HeaderField[]): RequestFields | undefined {
  const pseudo = new Map<string, string>()
  const headers: HeaderField[] = []
  for (const field of fields) {
    const [key, value] = field
    if (forbidden.test(value)) return undefined
    if (key.startsWith(":")) {
      if (headers.length > 0 || pseudo.has(key)) return undefined
      pseudo.set(key, value)
    } else {
      if (!name.test(key) || hopByHop.has(key) || (key === "te" && value !== "trailers")) return undefined
      headers.push(field)
    }
  }
  const [method, path, scheme] = [":method", ":path", ":scheme"].map((key) => pseudo.get(key))
  const authority = pseudo.get(":authority") ?? headers.find(([key]) => key === "host")?.[1]
  const known = pseudo.size === (pseudo.has(":authority") ? 4 : 3)
  if (!method || !path || !scheme || !authority || !known || method === "CONNECT") return undefined
  if (!methodText.test(method) || !isForClients(wholeUri(scheme, authority, path))) return undefined
  return { method, path, scheme, authority, headers }
}

export function outgoingRequest({ method, path, scheme, authority, headers }: RequestFields): OutgoingRequest {
  return { method, uri: wholeUri(scheme, authority, path), version: "HTTP/2.0", headers: headerMap(headers) }
}

/** All fields of a request, in the order they have to stand in. */
export function requestFields({ method, path, scheme, authority, headers }: RequestFields): HeaderField[] {
  return [[":method", method], [":scheme", scheme], [":authority", authority], [":path", path], ...headers]
}

/** `*`, which OPTIONS has, stands alone. */
function wholeUri(scheme: string, authority: string, path: string): string {
  return path.startsWith("/") ? `${scheme}://${authority}${path}` : path
}

export function responseFields(status: number, headers: HttpHeaders, marks: ResponseMarks): HeaderField[] {
  const fields: HeaderField[] = [[":status", String(status)]]
  for (const [key, values] of headers) {
    if (hopByHop.has(key) || (key === "cache-control" && marks.overrideCacheControl)) continue
    for (const value of values) fields.push([key, value])
  }
  if (marks.overrideCacheControl) fields.push(["cache-control", "no-cache, no-store, must-revalidate"])
  if (marks.setCookie !== undefined) fields.push(["set-cookie", marks.setCookie])
  if (marks.inject) fields.push(["mirrord-agent", "forwarded-to-client"])
  return fields
}

/** What the application's answer carries besides its own. */
export function passedFields({ inject }: ResponseMarks, setCookie: string | undefined): HeaderField[] {
  const fields: HeaderField[] = []
  if (setCookie !== undefined) fields.push(["set-cookie", setCookie])
  if (inject) fields.push(["mirrord-agent", "passed-through"])
  return fields
}

/** Of the answer to a shared link whose session is over. */
export function endedFields(setCookie: string, bytes: number): HeaderField[] {
  return [
    [":status", "200"],
    ["content-type", "text/html; charset=utf-8"],
    ["cache-control", "no-store"],
    ["set-cookie", setCookie],
    ["content-length", String(bytes)],
  ]
}

export function trailerFields(headers: HttpHeaders): HeaderField[] {
  return [...headers].flatMap(([key, values]) => values.map((value): HeaderField => [key, value]))
}
