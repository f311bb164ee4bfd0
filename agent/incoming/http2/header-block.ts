import { type Frame, flags, frameTypes, withoutPadding } from "./frames.ts"

/** Limits against floods of CONTINUATION frames. */
const maxBlockBytes = 64 << 10
const maxBlockFrames = 32

/** HEADERS and its CONTINUATION frames on their way to be whole. */
export class HeaderBlock {
  readonly stream: number
  readonly endStream: boolean
  readonly frames: Frame[] = []
  readonly #pieces: Buffer[] = []
  #bytes = 0

  constructor(first: Frame) {
    this.stream = first.stream
    this.endStream = (first.flags & flags.endStream) !== 0
  }

  /** `broken`: this connection cannot be read any further. */
  add(frame: Frame): "more" | "whole" | "broken" {
    const isFirst = this.frames.length === 0
    const fits = frame.stream === this.stream && frame.type === (isFirst ? frameTypes.headers : frameTypes.continuation)
    const piece = isFirst ? withoutPadding(frame) : frame.payload
    if (!fits || !piece) return "broken"
    this.frames.push(frame)
    this.#pieces.push(piece)
    this.#bytes += piece.length
    if (this.#bytes > maxBlockBytes || this.frames.length > maxBlockFrames) return "broken"
    return frame.flags & flags.endHeaders ? "whole" : "more"
  }

  content(): Buffer {
    return Buffer.concat(this.#pieces)
  }
}
