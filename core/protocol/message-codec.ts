import { AppError } from "../errors.ts"
import type { Codec } from "./codec.ts"
import { defaultLimits, type Limits } from "./limits.ts"
import { incomplete, Reader, tooLarge } from "./reader.ts"
import { Writer } from "./writer.ts"

/** Encodes and decodes whole messages of one direction. */
export interface MessageCodec<T> {
  readonly codec: Codec<T>
  /** One message in one piece: what a WebSocket message carries. Large payloads are copied once. */
  encode(message: T): Uint8Array
  /** Adds one message to what a stream will send. Throws before anything of the message is added. */
  encodeInto(writer: Writer, message: T): void
  /**
   * The message in `bytes`, which must be whole; bytes after it are ignored, as mirrord does on WebSockets.
   * Payloads are views into `bytes`.
   * @throws AppError "protocol-incomplete", "protocol-…"
   */
  decode(bytes: Uint8Array, limits?: Limits): T
  /** The first message in `bytes`, or undefined when they end inside it. @throws AppError "protocol-…" */
  decodeFirst(bytes: Uint8Array, limits?: Limits): { message: T; length: number } | undefined
}

export function messageCodec<T>(codec: Codec<T>): MessageCodec<T> {
  const self: MessageCodec<T> = {
    codec,
    encode(message) {
      const writer = new Writer()
      codec.write(writer, message)
      return joined(writer.take())
    },
    encodeInto(writer, message) {
      writer.whole(() => codec.write(writer, message))
    },
    decode(bytes, limits) {
      const first = self.decodeFirst(bytes, limits)
      if (first === undefined) throw new AppError("protocol-incomplete", "A message that ends too early was received")
      return first.message
    },
    decodeFirst(bytes, limits = defaultLimits) {
      const reader = new Reader(bytes, limits)
      try {
        const message = codec.read(reader)
        if (reader.position > limits.maxMessageBytes) throw tooLarge(reader.position, limits.maxMessageBytes)
        return { message, length: reader.position }
      } catch (thrown) {
        if (thrown === incomplete) return undefined
        throw thrown
      }
    },
  }
  return self
}

/** The chunks as one; a single one is not copied. */
export function joined(chunks: readonly Uint8Array[]): Uint8Array {
  return chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks)
}
