import { isMoveToken, moveHeader, upgradeToken } from "../core/protocol/index.ts"

/** "G". No message begins so: it would be tag 71, and the last one is 17. */
export const firstByteOfRequest = 0x47
/** Longest request head, in bytes. The API server's is about 500; whoever stands before it may add headers of its own. */
export const maxHeadBytes = 8 << 10
const headEnd = "\r\n\r\n"

const requestLine = /^GET [!-~]+ HTTP\/1\.1$/
/** Name and value of a header; neither folded lines nor control characters. Source: RFC 9110, section 5. */
const headerLine = /^([!#$%&'*+.^_`|~0-9A-Za-z-]+):([\t\x20-\x7e\x80-\xff]*)$/

export interface AcceptedRequest {
  /** Absent: a client of its own. */
  moveToken?: string
  /** Bytes behind the head. */
  rest: Uint8Array
}

/** An HTTP/1.1 request that asks to speak the agent's protocol, read in whatever pieces it comes. */
export class UpgradeRequest {
  #head = Buffer.alloc(0)

  /** "refused": it is another request, or none. */
  push(chunk: Uint8Array): "incomplete" | "refused" | AcceptedRequest {
    const had = this.#head.length
    this.#head = Buffer.concat([this.#head, chunk.subarray(0, maxHeadBytes - had)])
    const end = this.#head.indexOf(headEnd, Math.max(0, had - headEnd.length + 1), "latin1")
    if (end < 0) return this.#head.length < maxHeadBytes ? "incomplete" : "refused"
    const headers = headersOf(this.#head.toString("latin1", 0, end))
    if (!headers || !asksForUpgrade(headers)) return "refused"
    const moveToken = headers.get(moveHeader)
    if (moveToken !== undefined && !isMoveToken(moveToken)) return "refused"
    const rest = chunk.subarray(end + headEnd.length - had)
    return moveToken === undefined ? { rest } : { moveToken, rest }
  }
}

function headersOf(head: string): Map<string, string> | undefined {
  const [first = "", ...lines] = head.split("\r\n")
  if (!requestLine.test(first)) return undefined
  const values = new Map<string, string>()
  for (const line of lines) {
    const [, name = "", value = ""] = headerLine.exec(line) ?? []
    if (name === "") return undefined
    const key = name.toLowerCase()
    const before = values.get(key)
    values.set(key, before === undefined ? value.trim() : `${before},${value.trim()}`)
  }
  return values
}

function asksForUpgrade(values: ReadonlyMap<string, string>): boolean {
  const connection = (values.get("connection") ?? "").toLowerCase().split(",")
  return (
    values.get("upgrade")?.toLowerCase() === upgradeToken &&
    connection.some((option) => option.trim() === "upgrade") &&
    // A body would be taken for messages.
    !values.has("transfer-encoding") &&
    (values.get("content-length") ?? "0") === "0"
  )
}
