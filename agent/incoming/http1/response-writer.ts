import type { HttpBodyFrame, HttpHeaders } from "../../../core/protocol/index.ts"
import type { ClientResponse } from "../client-channel.ts"
import { encodeChunk, encodeResponseHead, encodeTrailers, type Framing, type ResponseMarks } from "./response-head.ts"

/** What became of an answer's message: `more` is to come, or it is `done` (`reusable`: so is the connection), or it cannot be. */
export type Progress = "more" | "done" | "upgraded" | "failed"

/** Turns the answer of a client, in whichever form it comes, into HTTP/1.1. */
export class ResponseWriter {
  readonly #write: (pieces: Uint8Array[]) => void
  readonly #method: string
  readonly #isNew: boolean
  readonly #marks: ResponseMarks
  #framing: Framing | undefined
  #left = 0
  /** May the connection be used for another request after this answer? */
  keepAlive: boolean

  constructor(
    request: { method: string; version: string; keepAlive: boolean },
    marks: ResponseMarks,
    write: (pieces: Uint8Array[]) => void,
  ) {
    this.#method = request.method
    this.#isNew = request.version === "HTTP/1.1"
    this.keepAlive = request.keepAlive && this.#isNew
    this.#marks = marks
    this.#write = write
  }

  get started(): boolean {
    return this.#framing !== undefined
  }

  take(message: ClientResponse): Progress {
    if (message.kind === "HttpResponse") {
      const { status, headers, body } = message.value.internalResponse
      return this.#whole(status, headers, body.length > 0 ? [{ kind: "Data", value: body }] : [])
    }
    if (message.kind === "HttpResponseFramed") {
      const { status, headers, body } = message.value.internalResponse
      return this.#whole(status, headers, body)
    }
    const part = message.value
    if (part.kind === "Error") return "failed"
    if (part.kind === "Body") return this.#body(part.value.frames, part.value.isLast)
    const { status, headers, body } = part.value.internalResponse
    return this.#start(status, headers, body)
  }

  #whole(status: number, headers: HttpHeaders, frames: HttpBodyFrame[]): Progress {
    if (this.started) return "failed"
    const pieces = frames.flatMap((frame) => (frame.kind === "Data" ? [frame.value] : []))
    const bytes = pieces.reduce((sum, piece) => sum + piece.length, 0)
    const hasTrailers = frames.some(({ kind }) => kind === "Trailers")
    const framing: Framing = hasTrailers && this.#isNew ? { kind: "chunked" } : { kind: "length", bytes }
    const head = this.#head(status, headers, framing)
    if (head === "failed") return "failed"
    if (status === 101) {
      this.#write([head])
      return "upgraded"
    }
    if (this.#framing?.kind === "length") this.#write([head, ...pieces])
    else if (this.#framing?.kind === "none") this.#write([head])
    else {
      this.#write([head])
      return this.#body(frames, true)
    }
    return "done"
  }

  #start(status: number, headers: HttpHeaders, frames: HttpBodyFrame[]): Progress {
    if (this.started) return "failed"
    const lengths = headers.get("content-length") ?? []
    const bytes = lengths.length === 1 && /^\d{1,15}$/.test(lengths[0]!) ? Number(lengths[0]) : undefined
    const open: Framing = this.#isNew ? { kind: "chunked" } : { kind: "close" }
    const head = this.#head(status, headers, bytes === undefined ? open : { kind: "length", bytes })
    if (head === "failed") return "failed"
    this.#left = bytes ?? 0
    this.#write([head, ...this.#encode(frames)])
    return this.#left < 0 ? "failed" : "more"
  }

  #head(status: number, headers: HttpHeaders, framing: Framing): Buffer | "failed" {
    if (status < 200 && status !== 101) return "failed"
    const bodiless = this.#method === "HEAD" || status < 200 || status === 204 || status === 304
    this.#framing = bodiless ? { kind: "none" } : framing
    this.#isUpgrade = status === 101
    if (headers.get("connection")?.some((value) => /\bclose\b/i.test(value))) this.keepAlive = false
    if (this.#framing.kind === "close") this.keepAlive = false
    return encodeResponseHead(status, headers, this.#framing, this.keepAlive, this.#marks)
  }

  #isUpgrade = false

  #body(frames: HttpBodyFrame[], isLast: boolean): Progress {
    if (!this.started) return "failed"
    const pieces = this.#encode(frames)
    if (isLast && this.#framing?.kind === "chunked") {
      const trailers = frames.find((frame) => frame.kind === "Trailers")
      pieces.push(encodeTrailers(trailers?.kind === "Trailers" ? trailers.value : undefined))
    }
    if (pieces.length > 0) this.#write(pieces)
    // More or less than was announced: the caller must not take the next answer for this one's rest.
    if (this.#left < 0 || (isLast && this.#left > 0)) return "failed"
    if (!isLast) return "more"
    return this.#isUpgrade ? "upgraded" : "done"
  }

  #encode(frames: HttpBodyFrame[]): Uint8Array[] {
    const framing = this.#framing!.kind
    if (framing === "none") return []
    const data = frames.flatMap((frame) => (frame.kind === "Data" && frame.value.length > 0 ? [frame.value] : []))
    if (framing === "chunked") return data.flatMap(encodeChunk)
    if (framing === "length") for (const piece of data) this.#left -= piece.length
    return this.#left < 0 ? [] : data
  }
}
