import { defaultLimits, type Limits } from "./limits.ts"
import type { MessageCodec } from "./message-codec.ts"
import { incomplete, Reader } from "./reader.ts"

/**
 * Finds the messages in a stream that is cut anywhere. A message that lies in one chunk is decoded in place, its
 * payloads being views into the chunk; one that does not is collected first and costs one copy.
 * At most one message, within the limits, and one chunk are held.
 */
export class MessageDecoder<T> {
  readonly #codec: MessageCodec<T>
  readonly #limits: Limits
  #held: Uint8Array[] = []
  #heldBytes = 0
  /** Fewest bytes the held message has; until then looking at it again is useless. */
  #needed = 1

  constructor(codec: MessageCodec<T>, limits: Limits = defaultLimits) {
    this.#codec = codec
    this.#limits = limits
  }

  /** Bytes of a message that has not ended yet. */
  get heldBytes(): number {
    return this.#heldBytes
  }

  /**
   * Takes the next chunk, which must not be changed afterwards, and hands on every message that ends in it.
   * After an error the stream is lost: nothing tells where the next message begins.
   * @throws AppError "protocol-…"
   */
  push(chunk: Uint8Array, deliver: (message: T) => void): void {
    if (this.#heldBytes > 0) {
      this.#held.push(chunk)
      this.#heldBytes += chunk.length
      if (this.#heldBytes < this.#needed) return
      chunk = Buffer.concat(this.#held, this.#heldBytes)
    }
    const reader = new Reader(chunk, this.#limits)
    let start = 0
    try {
      while (start < chunk.length) {
        reader.begin()
        const message = this.#codec.codec.read(reader)
        start = reader.position
        deliver(message)
      }
      this.#hold(chunk, chunk.length, 1)
    } catch (thrown) {
      if (thrown !== incomplete) throw thrown
      this.#hold(chunk, start, reader.needed)
    }
  }

  #hold(chunk: Uint8Array, from: number, needed: number): void {
    this.#heldBytes = chunk.length - from
    this.#held = this.#heldBytes > 0 ? [chunk.subarray(from)] : []
    this.#needed = needed
  }
}
