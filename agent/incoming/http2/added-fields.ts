import { encodeFrame, type Frame, flags, frameTypes } from "./frames.ts"
import { encodeStateless, type HeaderField } from "./hpack.ts"

/** Streams whose answers are to carry something; a caller that opens more before any is answered loses that of the oldest. */
const maxStreams = 1024

interface Addition {
  fields: readonly HeaderField[]
  /** Headers of the answer have come: those with the stream's end are trailers. */
  hasBegun: boolean
}

/** Fields of the agent's own in the application's answers: behind its header blocks, of whose compression they use nothing. */
export class AddedFields {
  readonly #streams = new Map<number, Addition>()
  /** The stream whose header block is to end with them. */
  #open: Addition | undefined

  /** The answer on `stream` carries `fields`. */
  add(stream: number, fields: readonly HeaderField[]): void {
    if (this.#streams.size >= maxStreams) this.forget(this.#streams.keys().next().value!)
    this.#streams.set(stream, { fields, hasBegun: false })
  }

  forget(stream: number): void {
    this.#streams.delete(stream)
  }

  get isEmpty(): boolean {
    return this.#streams.size === 0 && !this.#open
  }

  /** The application's frame with what belongs behind it. An interim answer (1xx) carries the fields, too. */
  into(frame: Frame): Frame[] {
    if (frame.type === frameTypes.headers) this.#begin(frame)
    else if (frame.type === frameTypes.data || frame.type === frameTypes.resetStream) this.forget(frame.stream)
    const isBlock = frame.type === frameTypes.headers || frame.type === frameTypes.continuation
    if (!this.#open || !isBlock || !(frame.flags & flags.endHeaders)) return [frame]
    const { fields } = this.#open
    this.#open = undefined
    return [goingOn(frame), lastOf(frame.stream, encodeStateless(fields))]
  }

  #begin({ stream, flags: bits }: Frame): void {
    const addition = this.#streams.get(stream)
    const isLast = (bits & flags.endStream) !== 0
    this.#open = addition && !(addition.hasBegun && isLast) ? addition : undefined
    if (addition) addition.hasBegun = true
    if (isLast) this.forget(stream)
  }
}

/** The same, but its header block goes on. */
function goingOn(frame: Frame): Frame {
  const bytes = Buffer.from(frame.bytes)
  bytes[4]! &= ~flags.endHeaders
  return { ...frame, flags: bytes[4]!, bytes }
}

function lastOf(stream: number, payload: Buffer): Frame {
  const { continuation: type } = frameTypes
  return { type, flags: flags.endHeaders, stream, payload, bytes: encodeFrame(type, flags.endHeaders, stream, payload) }
}
