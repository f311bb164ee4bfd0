import type { BodyKind } from "./request-head.ts"

/** Longest chunk size line and trailer section. */
const maxLineBytes = 4096
const maxTrailerBytes = 16 << 10

const CR = 13
const LF = 10
const chunkSize = /^([0-9A-Fa-f]{1,12})(?:[ \t]*;[\t\x20-\x7e\x80-\xff]*)?$/
const trailer = /^([!#$%&'*+\-.^_`|~0-9A-Za-z]+):([\t\x20-\x7e\x80-\xff]*)$/

type State = "size" | "data" | "data-end" | "trailers" | "done" | "broken"

/**
 * Finds the end of a message body in a stream of bytes, and undoes chunking for whoever wants the content. Strict as the head:
 * lines end with CRLF, sizes are plain hexadecimal.
 */
export class BodyReader {
  #state: State
  #left: number
  readonly #isChunked: boolean
  #line = ""
  #trailerBytes = 0
  /** Trailer fields, in order; complete once `done`. */
  readonly trailers: [name: string, value: string][] = []
  /** Gets the content, in slices of what was fed. */
  sink: ((content: Buffer) => void) | undefined

  constructor(body: BodyKind) {
    this.#isChunked = body.kind === "chunked"
    this.#left = body.kind === "length" ? body.bytes : 0
    this.#state = this.#isChunked ? "size" : this.#left > 0 ? "data" : "done"
  }

  get done(): boolean {
    return this.#state === "done"
  }

  /** The bytes are not a body: where this message ends nobody knows. */
  get broken(): boolean {
    return this.#state === "broken"
  }

  /** Reads from `start`; returns the offset behind what belongs to the body (or made it broken). */
  feed(bytes: Buffer, start: number): number {
    let at = start
    while (at < bytes.length && this.#state !== "done" && this.#state !== "broken") {
      at = this.#state === "data" ? this.#data(bytes, at) : this.#lineByte(bytes, at)
    }
    return at
  }

  #data(bytes: Buffer, at: number): number {
    const end = Math.min(bytes.length, at + this.#left)
    this.#left -= end - at
    this.sink?.(bytes.subarray(at, end))
    if (this.#left === 0) this.#state = this.#isChunked ? "data-end" : "done"
    return end
  }

  /** Takes the rest of a line, or what there is of it. */
  #lineByte(bytes: Buffer, at: number): number {
    const newline = bytes.indexOf(LF, at)
    const end = newline === -1 ? bytes.length : newline + 1
    if (end - at + this.#line.length > maxLineBytes) {
      this.#state = "broken"
      return end
    }
    this.#line += bytes.toString("latin1", at, end)
    if (newline === -1) return end
    const line = this.#line
    this.#line = ""
    this.#state = line.charCodeAt(line.length - 2) === CR ? this.#afterLine(line.slice(0, -2)) : "broken"
    return end
  }

  #afterLine(line: string): State {
    if (this.#state === "data-end") return line === "" ? "size" : "broken"
    if (this.#state === "size") {
      const size = chunkSize.exec(line)?.[1]
      if (size === undefined) return "broken"
      this.#left = Number.parseInt(size, 16)
      return this.#left === 0 ? "trailers" : "data"
    }
    if (line === "") return "done"
    const field = trailer.exec(line)
    this.#trailerBytes += line.length
    if (!field || this.#trailerBytes > maxTrailerBytes) return "broken"
    this.trailers.push([field[1]!, field[2]!.trim()])
    return "trailers"
  }
}
