/*
 * The part of SPDY/3.1 that Kubernetes port-forwarding needs, client side. Numbers are big endian.
 *
 *   data      0 and stream id (31 bits) | flags (8) length (24) | payload
 *   control   0x8003, type (16)         | flags (8) length (24) | payload
 *
 *   type  payload
 *   1     SYN_STREAM: stream id, 0, priority and slot (16), header block
 *   2     SYN_REPLY:  stream id, header block
 *   3     RST_STREAM: stream id, status
 *   6     PING:       id
 *   7     GOAWAY:     last stream id, status
 *
 *   A header block is one continued zlib stream for the whole connection; inside: count (32), and for each name and value
 *   their length (32) and bytes. Neither Kubernetes nor its container runtimes use SPDY's flow control.
 */

export const controlType = { synStream: 1, synReply: 2, rstStream: 3, ping: 6, goAway: 7 } as const
export const finFlag = 1
export const frameHeaderBytes = 8

const control = 0x8003
/** Begins a zlib stream that uses the dictionary of SPDY/3, named by its checksum. */
const zlibStart = Buffer.from([0x78, 0xbb, 0xe3, 0xc6, 0xa7, 0xc2])
/** An empty block, as a flush makes it: readers give out what they hold when they see it. */
const flush = storedBlock(Buffer.alloc(0))

/** Writes the header of a data frame. `length` below 2^24. */
export function writeDataHeader(into: Buffer, streamId: number, flags: number, length: number): void {
  into.writeUInt32BE(streamId, 0)
  into.writeUInt32BE(((flags << 24) | length) >>> 0, 4)
}

/**
 * Opens a stream. `isFirst`: of this connection. The names are lower case. Nothing is really compressed: a zlib stream may
 * consist of stored blocks, and two short blocks are all that is ever said.
 */
export function encodeSynStream(
  streamId: number,
  headers: Record<string, string>,
  options: { flags: number; isFirst: boolean },
): Buffer {
  const entries = Object.entries(headers)
  const block = Buffer.concat([
    u32(entries.length),
    ...entries.flat().flatMap((text) => [u32(text.length), text].map(bytes)),
  ])
  const priorityAndSlot = Buffer.alloc(2)
  const start = options.isFirst ? zlibStart : Buffer.alloc(0)
  const payload = Buffer.concat([u32(streamId), u32(0), priorityAndSlot, start, storedBlock(block), flush])
  return Buffer.concat([controlHeader(controlType.synStream, options.flags, payload.length), payload])
}

function storedBlock(bytes: Buffer): Buffer {
  const header = Buffer.alloc(5)
  header.writeUInt16LE(bytes.length, 1)
  header.writeUInt16LE(0xffff - bytes.length, 3)
  return Buffer.concat([header, bytes])
}

export function encodePing(id: number): Buffer {
  return Buffer.concat([controlHeader(controlType.ping, 0, 4), u32(id)])
}

function controlHeader(type: number, flags: number, length: number): Buffer {
  const header = Buffer.alloc(frameHeaderBytes)
  header.writeUInt16BE(control, 0)
  header.writeUInt16BE(type, 2)
  header.writeUInt32BE(((flags << 24) | length) >>> 0, 4)
  return header
}

function u32(value: number): Buffer {
  const buffer = Buffer.alloc(4)
  buffer.writeUInt32BE(value, 0)
  return buffer
}

const bytes = (part: Buffer | string) => (typeof part === "string" ? Buffer.from(part, "latin1") : part)

export interface SpdySink {
  /** A piece of a data frame, never copied; `fin`: its stream ends with it. Without bytes only at the end of a stream. */
  data(streamId: number, piece: Uint8Array, fin: boolean): void
  /** A control frame with its two first numbers, 0 where it has none. */
  control(type: number, first: number, second: number): void
}

/** Cuts a byte stream into frames, whatever the pieces it arrives in. @throws Error when the bytes are no such frames */
export class SpdyReader {
  readonly #sink: SpdySink
  /** A header, then the beginning of a control frame's payload. */
  readonly #kept = Buffer.alloc(frameHeaderBytes + 8)
  #keptLength = 0
  /** Payload bytes of the current frame still to come. */
  #missing = 0
  #inPayload = false

  constructor(sink: SpdySink) {
    this.#sink = sink
  }

  push(chunk: Uint8Array): void {
    let at = 0
    while (at < chunk.byteLength) {
      if (!this.#inPayload) at = this.#readHeader(chunk, at)
      else {
        const end = Math.min(chunk.byteLength, at + this.#missing)
        this.#missing -= end - at
        this.#deliver(chunk.subarray(at, end))
        at = end
      }
    }
  }

  #readHeader(chunk: Uint8Array, from: number): number {
    const end = Math.min(chunk.byteLength, from + frameHeaderBytes - this.#keptLength)
    this.#kept.set(chunk.subarray(from, end), this.#keptLength)
    this.#keptLength += end - from
    if (this.#keptLength < frameHeaderBytes) return end
    if (this.#isControl && (this.#kept[0] !== 0x80 || this.#kept[1] !== 3))
      throw new Error("the server does not speak SPDY/3")
    this.#missing = this.#kept.readUIntBE(5, 3)
    this.#inPayload = true
    if (this.#missing === 0) this.#deliver(new Uint8Array(0))
    return end
  }

  get #isControl(): boolean {
    return (this.#kept[0]! & 0x80) !== 0
  }

  #deliver(piece: Uint8Array): void {
    const isLast = this.#missing === 0
    if (isLast) this.#inPayload = false
    if (this.#isControl) {
      const known = piece.subarray(0, this.#kept.length - this.#keptLength)
      this.#kept.set(known, this.#keptLength)
      this.#keptLength += known.byteLength
      if (!isLast) return
      this.#kept.fill(0, this.#keptLength)
      this.#keptLength = 0
      this.#sink.control(this.#kept.readUInt16BE(2), this.#kept.readUInt32BE(8), this.#kept.readUInt32BE(12))
      return
    }
    const fin = isLast && (this.#kept[4]! & finFlag) !== 0
    if (isLast) this.#keptLength = 0
    if (piece.byteLength > 0 || fin) this.#sink.data(this.#kept.readUInt32BE(0), piece, fin)
  }
}
