import { defaultLimits, type Limits } from "./limits.ts"
import type { MessageCodec } from "./message-codec.ts"
import { incomplete, Reader, tooLarge } from "./reader.ts"
import { MessageScanner } from "./scanner.ts"

/**
 * Bytes taken beyond those a held message needs at least, besides as many as it already has: enough for most messages,
 * small or of many parts, to end at the first look. They are copied in vain where the message ends before.
 */
const slackBytes = 4096
/** A held message is decoded from its beginning again until that cost so many times its bytes; then its end is searched first. */
const maxLooks = 3

/**
 * Finds the messages in a stream that is cut anywhere. A message that lies in one chunk is decoded in place, its
 * payloads being views into the chunk; one that does not is collected first, which costs one or two copies.
 * At most one message, within the limits, and one chunk are held, and no message is looked at more than a few times.
 */
export class MessageDecoder<T> {
  readonly #codec: MessageCodec<T>
  readonly #limits: Limits
  /** The beginning of a message that has not ended yet. */
  #held: Uint8Array[] = []
  #heldBytes = 0
  /** Fewest bytes the held message has; until then nothing needs to look at it. */
  #needed = 0
  /** Bytes decoded in vain for the held message, counted each time. */
  #lookedAtBytes = 0
  /** Finds the end of a held message that is longer than it had to be. */
  #scanner: MessageScanner | undefined

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
    let rest: Uint8Array | undefined = chunk
    if (this.#heldBytes > 0) rest = this.#complete(chunk, deliver)
    if (rest !== undefined) this.#decodeAll(rest, deliver)
  }

  #decodeAll(bytes: Uint8Array, deliver: (message: T) => void): void {
    const reader = new Reader(bytes, this.#limits)
    let start = 0
    try {
      while (start < bytes.length) {
        reader.begin()
        const message = this.#codec.codec.read(reader)
        start = reader.position
        deliver(message)
      }
    } catch (thrown) {
      if (thrown !== incomplete) throw thrown
      this.#hold(bytes.subarray(start))
      this.#needed = reader.needed
    }
  }

  /** Adds to the held message; what of the chunk comes after it, or undefined when it goes on. */
  #complete(chunk: Uint8Array, deliver: (message: T) => void): Uint8Array | undefined {
    let rest = chunk
    while (this.#scanner === undefined) {
      const before = this.#heldBytes
      const missing = this.#needed - before
      if (rest.length < missing) {
        this.#hold(rest)
        return undefined
      }
      const taken = missing + Math.max(before, slackBytes)
      this.#hold(rest.subarray(0, taken))
      const reader = new Reader(this.#collect(), this.#limits)
      const message = this.#read(reader)
      if (message !== undefined) {
        this.#release()
        deliver(message)
        return rest.subarray(reader.position - before)
      }
      this.#needed = reader.needed
      rest = rest.subarray(taken)
      this.#lookedAtBytes += this.#heldBytes
      if (this.#lookedAtBytes > maxLooks * this.#heldBytes) {
        this.#scanner = new MessageScanner(this.#codec.codec, this.#limits)
        this.#scanner.scan(reader.bytes)
      }
    }
    return this.#scanOn(rest, deliver)
  }

  /** Undefined when the message goes on. */
  #read(reader: Reader): T | undefined {
    try {
      const message = this.#codec.codec.read(reader)
      const { maxMessageBytes } = this.#limits
      if (reader.position > maxMessageBytes) throw tooLarge(reader.position, maxMessageBytes)
      return message
    } catch (thrown) {
      if (thrown === incomplete) return undefined
      throw thrown
    }
  }

  #scanOn(chunk: Uint8Array, deliver: (message: T) => void): Uint8Array | undefined {
    const end = this.#scanner!.scan(chunk)
    this.#hold(chunk.subarray(0, end))
    if (end === undefined) return undefined
    const message = this.#codec.decode(this.#collect(), this.#limits)
    this.#release()
    deliver(message)
    return chunk.subarray(end)
  }

  /** Makes one piece of what is held. */
  #collect(): Uint8Array {
    const whole = Buffer.concat(this.#held, this.#heldBytes)
    this.#held = [whole]
    return whole
  }

  #hold(bytes: Uint8Array): void {
    if (bytes.length === 0) return
    this.#held.push(bytes)
    this.#heldBytes += bytes.length
  }

  #release(): void {
    this.#held = []
    this.#heldBytes = 0
    this.#lookedAtBytes = 0
    this.#scanner = undefined
  }
}
