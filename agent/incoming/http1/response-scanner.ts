import { BodyReader } from "./body-reader.ts"
import { maxHeadBytes } from "./request-head.ts"

const statusLine = /^HTTP\/1\.([01]) ([1-9]\d\d)[ \r]/
const length = /\r\ncontent-length:[ \t]*(\d{1,15})[ \t]*\r\n/i
const anyLength = /\r\ncontent-length[ \t]*:/gi
const coding = /\r\ntransfer-encoding:[ \t]*([^\r\n]*?)[ \t]*\r\n/i

/**
 * Watches the bytes an application sends and counts its answers, so that an answer of somebody else is never put into the middle of
 * one. It changes nothing itself; as soon as it does not understand, the stream is `opaque` and nothing may be put in any more.
 */
export class ResponseScanner {
  /** The requests that are not answered completely, oldest first. */
  readonly #awaited: { method: string; header: string | undefined }[] = []
  #insertions: { at: number; line: string }[] = []
  readonly #onCount: (by: number) => void
  #head: Buffer | undefined
  #body: BodyReader | undefined
  #opaque = false
  #switched = false

  /** `onCount` hears how many more or fewer answers are awaited. */
  constructor(onCount: (by: number) => void) {
    this.#onCount = onCount
  }

  /** A request was passed on. `header` is a whole line that belongs into its answer. */
  expect(method: string, header?: string): void {
    this.#awaited.push({ method, header })
    this.#onCount(1)
  }

  /** The bytes last fed, with the lines that belong into them; an answer whose empty line was begun before goes without. */
  withLines(bytes: Buffer): Buffer {
    if (this.#insertions.length === 0) return bytes
    const pieces: Buffer[] = []
    let from = 0
    for (const { at, line } of this.#insertions.splice(0)) {
      pieces.push(bytes.subarray(from, at), Buffer.from(line, "latin1"))
      from = at
    }
    return Buffer.concat([...pieces, bytes.subarray(from)])
  }

  /** No answer is awaited any more. */
  giveUp(): void {
    if (this.#awaited.length > 0) this.#onCount(-this.#awaited.length)
    this.#awaited.length = 0
  }

  get outstanding(): number {
    return this.#awaited.length
  }

  /** The rest of the connection belongs to the application: an upgrade, an answer without an end, or nonsense. */
  get opaque(): boolean {
    return this.#opaque
  }

  /** Opaque because of a 101: what follows is the new protocol's. */
  get switched(): boolean {
    return this.#switched
  }

  /** Has the application begun the oldest answer? */
  get midway(): boolean {
    return this.#body !== undefined || this.#head !== undefined
  }

  /** Returns the offset behind what was understood. */
  feed(bytes: Buffer): number {
    let at = 0
    while (at < bytes.length && !this.#opaque) {
      if (this.#body) {
        at = this.#body.feed(bytes, at)
        if (this.#body.broken) this.#opaque = true
        else if (this.#body.done) this.#finish()
      } else at = this.#readHead(bytes, at)
    }
    return at
  }

  #readHead(bytes: Buffer, at: number): number {
    const kept = this.#head?.length ?? 0
    const known = this.#head ? Buffer.concat([this.#head, bytes.subarray(at)]) : bytes
    const start = this.#head ? 0 : at
    const end = known.indexOf("\r\n\r\n", start, "latin1")
    if (end === -1) {
      if (known.length - start > maxHeadBytes) this.#opaque = true
      this.#head = Buffer.from(known.subarray(start))
      return bytes.length
    }
    this.#head = undefined
    const behind = at + (end + 4 - start) - kept
    // With the last line's CRLF, so that every header line is found between two of them.
    this.#understand(known.toString("latin1", start, end + 2), behind - 2)
    return behind
  }

  /** `lineAt`: where in the bytes fed another line would stand. */
  #understand(head: string, lineAt: number): void {
    const status = Number(statusLine.exec(head)?.[2] ?? 0)
    const { method, header } = this.#awaited[0] ?? {}
    if (status === 0 || method === undefined || status === 101 || (method === "CONNECT" && status < 300)) {
      this.#opaque = true
      this.#switched = status === 101 && method !== undefined
      return
    }
    if (status < 200) return
    if (header !== undefined && lineAt >= 0) this.#insertions.push({ at: lineAt, line: header })
    if (method === "HEAD" || status === 204 || status === 304) {
      this.#finish()
      return
    }
    const transfer = coding.exec(head)?.[1]
    const size = length.exec(head)?.[1]
    const lengths = head.match(anyLength)?.length ?? 0
    if (transfer !== undefined && transfer.toLowerCase() === "chunked" && lengths === 0) {
      this.#body = new BodyReader({ kind: "chunked" })
    } else if (transfer === undefined && size !== undefined && lengths === 1) {
      this.#body = new BodyReader({ kind: "length", bytes: Number(size) })
      if (this.#body.done) this.#finish()
    } else this.#opaque = true
  }

  #finish(): void {
    this.#body = undefined
    this.#awaited.shift()
    this.#onCount(-1)
  }
}
