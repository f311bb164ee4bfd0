/* How a shared link names a session: a query parameter, which becomes a cookie, both of which become an entry of the baggage header. */

const name = "mirrord-session"
const attributes = "Path=/; HttpOnly; SameSite=Lax"
const clearingCookie = `${name}=; ${attributes}; Max-Age=0`

type Header = readonly [name: string, value: string]

export interface LinkedRequest {
  target: string
  headers: readonly Header[]
}

/** `ended`: the link's session is over; `path` is where it leads without the session. `setCookie` belongs into the answer. */
export type ShareLink =
  | { kind: "goes-on"; request: LinkedRequest; setCookie: string | undefined }
  | { kind: "ended"; path: string; setCookie: string }

/**
 * What a request's link means; undefined when it has none. Keys are compared as they stand, without decoding. A key in the query wins
 * over any cookie.
 */
export function readShareLink(request: LinkedRequest, isLive: (key: string) => boolean): ShareLink | undefined {
  const query = keyInQuery(request.target)
  if (query !== undefined) {
    const target = withoutKey(request.target)
    if (!isLive(query)) return { kind: "ended", path: pathOf(target), setCookie: clearingCookie }
    const headers = withBaggage(request.headers, query)
    return { kind: "goes-on", request: { target, headers }, setCookie: `${name}=${query}; ${attributes}` }
  }
  const cookie = keyInCookies(request.headers)
  if (cookie === undefined) return undefined
  if (!isLive(cookie)) return { kind: "goes-on", request, setCookie: clearingCookie }
  const headers = withBaggage(request.headers, cookie)
  return { kind: "goes-on", request: { target: request.target, headers }, setCookie: undefined }
}

function keyInQuery(target: string): string | undefined {
  return firstKey(splitQuery(target)[1]?.split("&") ?? [])
}

function keyInCookies(headers: readonly Header[]): string | undefined {
  const cookies = valuesOf(headers, "cookie").flatMap((value) => value.split(";"))
  return firstKey(cookies.map((cookie) => cookie.trim()))
}

function firstKey(pairs: readonly string[]): string | undefined {
  return pairs.find((pair) => pair.startsWith(`${name}=`) && pair.length > name.length + 1)?.slice(name.length + 1)
}

/** The other parameters keep their bytes. */
function withoutKey(target: string): string {
  const [path, query = ""] = splitQuery(target)
  const kept = query.split("&").filter((pair) => pair !== name && !pair.startsWith(`${name}=`))
  return kept.length === 0 ? path : `${path}?${kept.join("&")}`
}

function splitQuery(target: string): [path: string, query: string | undefined] {
  const at = target.indexOf("?")
  return at < 0 ? [target, undefined] : [target.slice(0, at), target.slice(at + 1)]
}

/** All baggage headers become one, in the place of the first. */
function withBaggage(headers: readonly Header[], key: string): Header[] {
  const entry = `${name}=${key}`
  const values = valuesOf(headers, "baggage")
  const entries = values.flatMap((value) => value.split(",")).map((value) => value.split(";")[0]!.trim())
  if (entries.includes(entry) && values.length === 1) return [...headers]
  const merged = [...values, ...(entries.includes(entry) ? [] : [entry])].join(",")
  const first = headers.findIndex(([header]) => header.toLowerCase() === "baggage")
  if (first < 0) return [...headers, ["baggage", merged]]
  return headers.flatMap((header, index) => {
    if (index === first) return [[header[0], merged] as const]
    return header[0].toLowerCase() === "baggage" ? [] : [header]
  })
}

function valuesOf(headers: readonly Header[], wanted: string): string[] {
  return headers.flatMap(([header, value]) => (header.toLowerCase() === wanted ? [value] : []))
}

/** Without an authority, so that nobody's link leads to another site. */
function pathOf(target: string): string {
  return `/${target.replace(/^[A-Za-z][\w+.-]*:\/\/[^/?]*/, "").replace(/^[/\\]+/, "")}`
}
