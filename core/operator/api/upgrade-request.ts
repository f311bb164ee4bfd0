import type { IncomingHttpHeaders } from "node:http"

/** What is looked at of a request that asks for an upgrade. Requests of `node:http` are such. */
export interface UpgradeRequest {
  method?: string
  url?: string
  /** By lower-case names. */
  headers: IncomingHttpHeaders
  /** Names and values in turn, as received. */
  rawHeaders: string[]
}

/** Path and query of a request's target; only the first question mark parts them. */
export function splitUrl(url = ""): [path: string, query: string] {
  const end = url.indexOf("?")
  return end < 0 ? [url, ""] : [url.slice(0, end), url.slice(end + 1)]
}

const headerLine = /^([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([\t -~\u0080-\u00ff]*?)[ \t]*$/

/**
 * The request a head stands for, when it is a plain wish for a WebSocket without a body. Undefined for everything else, and for
 * what is in any way unusual: a whole HTTP parser judges that.
 * @param head without the empty line at its end
 */
export function readUpgrade(head: Buffer): UpgradeRequest | undefined {
  const [first = "", ...lines] = linesOf(head)
  const url = /^GET (\/[\x21-\x7e]*) HTTP\/1\.1$/.exec(first)?.[1]
  if (url === undefined) return undefined
  const headers: Record<string, string> = Object.create(null)
  const rawHeaders: string[] = []
  for (const line of lines) {
    const [, name, value] = headerLine.exec(line) ?? []
    if (name === undefined || value === undefined) return undefined
    rawHeaders.push(name, value)
    const key = name.toLowerCase()
    headers[key] = key in headers ? `${headers[key]}, ${value}` : value
  }
  const options = (headers["connection"] ?? "").toLowerCase().split(/[ \t]*,[ \t]*/)
  if (headers["upgrade"]?.toLowerCase() !== "websocket" || !options.includes("upgrade")) return undefined
  if (["content-length", "transfer-encoding", "expect"].some((name) => name in headers)) return undefined
  return { method: "GET", url, headers, rawHeaders }
}

/**
 * One character for each byte. Every line is a text of its own: parts of one text keep all of it in memory, and a session's user
 * would keep the whole head.
 */
function linesOf(head: Buffer): string[] {
  const lines: string[] = []
  for (let from = 0; from <= head.length; ) {
    const end = head.indexOf("\r\n", from)
    lines.push(head.toString("latin1", from, end < 0 ? head.length : end))
    from = (end < 0 ? head.length : end) + 2
  }
  return lines
}
