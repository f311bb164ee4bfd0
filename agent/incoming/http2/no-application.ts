import { encodeFrame, encodeHeaders, type Frame, flags, frameTypes, windowUpdate } from "./frames.ts"
import { encodeStateless } from "./hpack.ts"

/** Stands in for an application that does not answer at its port, so that claimed streams work without it. */
export class NoApplication {
  greeting(): Buffer {
    return encodeFrame(frameTypes.settings, 0, 0)
  }

  /** The answer to a frame the application would have got; may be empty. */
  answer({ type, flags: bits, payload, stream }: Frame): Buffer {
    if (type === frameTypes.settings && !(bits & flags.ack)) return encodeFrame(frameTypes.settings, flags.ack, 0)
    if (type === frameTypes.ping && !(bits & flags.ack)) return encodeFrame(frameTypes.ping, flags.ack, 0, payload)
    if (type === frameTypes.data && stream !== 0 && payload.length > 0) return windowUpdate(0, payload.length)
    return Buffer.alloc(0)
  }

  answerRequest(stream: number): Buffer {
    return encodeHeaders(stream, encodeStateless([[":status", "502"]]), true, 16_384)
  }
}
