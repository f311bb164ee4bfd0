import { BodyReader } from "./body-reader.ts"
import type { BodyKind } from "./request-head.ts"

/** The body of a request whose owner depends on it, within limits of size and time. */
export class CollectedBody {
  readonly #reader: BodyReader
  readonly #maxBytes: number
  readonly #pieces: Buffer[] = []
  readonly #timer: ReturnType<typeof setTimeout>
  #bytes = 0
  /** Offset behind what was read, from the request's start. */
  #at: number
  #isTooLate = false

  /** `onTooLate` is called when the rest did not come in time. */
  constructor(
    kind: BodyKind,
    headBytes: number,
    limits: { maxBodyBytes: number; maxBodyMilliseconds: number },
    onTooLate: () => void,
  ) {
    this.#reader = new BodyReader(kind)
    this.#reader.sink = (piece) => {
      this.#pieces.push(piece)
      this.#bytes += piece.length
    }
    this.#at = headBytes
    this.#maxBytes = limits.maxBodyBytes
    this.#timer = setTimeout(() => {
      this.#isTooLate = true
      onTooLate()
    }, limits.maxBodyMilliseconds)
  }

  /** `start`: offset of the request in `input`. Undefined: it is too large, too late or broken. */
  read(input: Buffer, start: number): Buffer | undefined | "more" {
    this.#at = this.#reader.feed(input, start + this.#at) - start
    const isTooLarge = this.#bytes > this.#maxBytes
    if (!this.#reader.done && !this.#reader.broken && !isTooLarge && !this.#isTooLate) return "more"
    this.dispose()
    return this.#reader.done && !isTooLarge ? Buffer.concat(this.#pieces) : undefined
  }

  dispose(): void {
    clearTimeout(this.#timer)
  }
}
