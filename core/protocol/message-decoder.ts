import type { Divide } from "./divide.ts"
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

/** The length of an empty payload. */
const noBytes = new Uint8Array(1)
/** From this size on a payload is handed on as it comes, in bytes; collecting less costs less than more messages would. */
const dividedBytes = 16 << 10

/**
 * Finds the messages in a stream that is cut anywhere. A message that lies in one chunk is decoded in place, its
 * payloads being views into the chunk; one that does not is collected first, which costs one or two copies, or, when it is
 * a large part of a byte stream, handed on in several messages without any.
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
  readonly #divide: Divide<T> | undefined
  /** The payload that is being handed on in pieces, and its bytes still to come. */
  #open: { make(bytes: Uint8Array): T; missing: number } | undefined

  /** @param divide without it every message is handed on whole */
  constructor(codec: MessageCodec<T>, limits: Limits = defaultLimits, divide?: Divide<T>) {
    this.#codec = codec
    this.#limits = limits
    this.#divide = divide
  }

  /** Bytes of a message that has not ended yet. */
  get heldBytes(): number {
    return this.#heldBytes
  }

  /** The stream may end here: no message has begun. */
  get isBetweenMessages(): boolean {
    return this.#heldBytes === 0 && this.#open === undefined
  }

  /**
   * Takes the next chunk, which must not be changed afterwards, and hands on every message that ends in it.
   * After an error the stream is lost: nothing tells where the next message begins.
   * @throws AppError "protocol-…"
   */
  push(chunk: Uint8Array, deliver: (message: T) => void): void {
    let rest: Uint8Array | undefined = chunk
    if (this.#open !== undefined) rest = this.#goOn(chunk, deliver)
    else if (this.#heldBytes > 0) rest = this.#complete(chunk, deliver)
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
      if (this.#begin(reader, start, deliver)) return
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
      rest = rest.subarray(taken)
      if (this.#begin(reader, 0, deliver)) {
        this.#release()
        return this.#goOn(rest, deliver)
      }
      this.#needed = reader.needed
      this.#lookedAtBytes += this.#heldBytes
      if (this.#lookedAtBytes > maxLooks * this.#heldBytes) {
        this.#scanner = new MessageScanner(this.#codec.codec, this.#limits)
        this.#scanner.scan(reader.bytes)
      }
    }
    return this.#scanOn(rest, deliver)
  }

  /** Hands on the beginning of a message that ends in a large part of a byte stream; false when it is no such message. */
  #begin(reader: Reader, start: number, deliver: (message: T) => void): boolean {
    const { lengthAt, from, bytes } = reader.cut
    if (bytes < dividedBytes || !this.#divide) return false
    // The same message with an empty payload, which must then be all of it.
    const head = Buffer.concat([reader.bytes.subarray(start, lengthAt), noBytes])
    const empty = this.#codec.decodeFirst(head, this.#limits)
    const make = empty?.length === head.length ? this.#divide(empty.message) : undefined
    if (!make) return false
    const piece = reader.bytes.subarray(from)
    this.#open = { make, missing: bytes - piece.length }
    if (piece.length > 0) deliver(make(piece))
    return true
  }

  /** What of the chunk comes after the payload, or undefined when that goes on. */
  #goOn(chunk: Uint8Array, deliver: (message: T) => void): Uint8Array | undefined {
    const { make, missing } = this.#open!
    const piece = chunk.subarray(0, missing)
    if (piece.length < missing) this.#open!.missing -= piece.length
    else this.#open = undefined
    if (piece.length > 0) deliver(make(piece))
    return piece.length < missing ? undefined : chunk.subarray(missing)
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
