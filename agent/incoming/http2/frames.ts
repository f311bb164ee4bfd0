/*
 * HTTP/2 frames (RFC 9113, section 4): length u24, type u8, flags u8, stream u31, payload.
 */

export const frameTypes = {
  data: 0,
  headers: 1,
  priority: 2,
  resetStream: 3,
  settings: 4,
  pushPromise: 5,
  ping: 6,
  goAway: 7,
  windowUpdate: 8,
  continuation: 9,
} as const

export const flags = { endStream: 1, ack: 1, endHeaders: 4, padded: 8, priority: 0x20 } as const

export const settings = { headerTableSize: 1, initialWindowSize: 4, maxFrameSize: 5 } as const

export const errors = {
  protocol: 1,
  internal: 2,
  flowControl: 3,
  frameSize: 6,
  refused: 7,
  cancel: 8,
  compression: 9,
  calm: 11,
} as const

export const preface = Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
/** Is this the first a caller with prior knowledge says? */
export function startsHttp2(input: Buffer): "yes" | "maybe" | "no" {
  const length = Math.min(input.length, preface.length)
  if (!input.subarray(0, length).equals(preface.subarray(0, length))) return "no"
  return length === preface.length ? "yes" : "maybe"
}

/** What both ends start with. */
export const initialWindow = 65_535
export const maxWindow = 2 ** 31 - 1
const headerBytes = 9

export interface Frame {
  type: number
  flags: number
  stream: number
  payload: Buffer
  /** The frame as it came. */
  bytes: Buffer
  /** DATA whose bytes of the connection's window the caller has been given back already. */
  lent?: boolean
}

/** Cuts a stream of bytes into frames. */
export class FrameReader {
  #kept: Buffer = Buffer.alloc(0)
  /** Of the receiver of this direction (SETTINGS_MAX_FRAME_SIZE). */
  allowedBytes = 16_384

  /** A frame was larger than allowed: nothing after it can be read. */
  broken = false

  feed(bytes: Buffer): Frame[] {
    const input = this.#kept.length === 0 ? bytes : Buffer.concat([this.#kept, bytes])
    const frames: Frame[] = []
    let at = 0
    while (at + headerBytes <= input.length && !this.broken) {
      const end = at + headerBytes + input.readUIntBE(at, 3)
      this.broken = end - at - headerBytes > this.allowedBytes
      if (this.broken || end > input.length) break
      frames.push({
        type: input[at + 3]!,
        flags: input[at + 4]!,
        stream: input.readUInt32BE(at + 5) & 0x7fffffff,
        payload: input.subarray(at + headerBytes, end),
        bytes: input.subarray(at, end),
      })
      at = end
    }
    this.#kept = at === input.length ? Buffer.alloc(0) : input.subarray(at)
    return frames
  }

  /** What was fed and not given out. */
  takeRest(): Buffer {
    const rest = this.#kept
    this.#kept = Buffer.alloc(0)
    return rest
  }
}

export function encodeFrame(
  type: number,
  frameFlags: number,
  stream: number,
  payload: Uint8Array = Buffer.alloc(0),
): Buffer {
  const frame = Buffer.allocUnsafe(headerBytes + payload.length)
  frame.writeUIntBE(payload.length, 0, 3)
  frame[3] = type
  frame[4] = frameFlags
  frame.writeUInt32BE(stream, 5)
  frame.set(payload, headerBytes)
  return frame
}

/** A header block in as many frames as its size asks for. */
export function encodeHeaders(stream: number, block: Buffer, endStream: boolean, maxFrameSize: number): Buffer {
  const frames: Buffer[] = []
  for (let at = 0; at === 0 || at < block.length; at += maxFrameSize) {
    const last = at + maxFrameSize >= block.length
    const type = at === 0 ? frameTypes.headers : frameTypes.continuation
    const end = at === 0 && endStream ? flags.endStream : 0
    frames.push(encodeFrame(type, (last ? flags.endHeaders : 0) | end, stream, block.subarray(at, at + maxFrameSize)))
  }
  return Buffer.concat(frames)
}

export function encodeUint32(type: number, stream: number, value: number): Buffer {
  const payload = Buffer.alloc(4)
  payload.writeUInt32BE(value >>> 0)
  return encodeFrame(type, 0, stream, payload)
}

export const windowUpdate = (stream: number, bytes: number) => encodeUint32(frameTypes.windowUpdate, stream, bytes)
export const resetStream = (stream: number, error: number) => encodeUint32(frameTypes.resetStream, stream, error)

export function goAway(lastStream: number, error: number): Buffer {
  const payload = Buffer.alloc(8)
  payload.writeUInt32BE(lastStream, 0)
  payload.writeUInt32BE(error, 4)
  return encodeFrame(frameTypes.goAway, 0, 0, payload)
}

/** Content of a DATA or HEADERS payload without its padding and priority; undefined when they do not fit. */
export function withoutPadding({ type, flags: bits, payload }: Frame): Buffer | undefined {
  const padded = (bits & flags.padded) !== 0
  const priority = type === frameTypes.headers && (bits & flags.priority) !== 0
  const start = (padded ? 1 : 0) + (priority ? 5 : 0)
  const end = payload.length - (padded ? (payload[0] ?? 0) : 0)
  return start <= end ? payload.subarray(start, end) : undefined
}

/** The pairs in a SETTINGS frame. */
export function readSettings(payload: Buffer): [id: number, value: number][] {
  const pairs: [number, number][] = []
  for (let at = 0; at + 6 <= payload.length; at += 6)
    pairs.push([payload.readUInt16BE(at), payload.readUInt32BE(at + 2)])
  return pairs
}
