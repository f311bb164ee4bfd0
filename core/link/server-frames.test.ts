import { describe, expect, test } from "bun:test"
import { frameHead, opcode, ServerFrameReader } from "./server-frames.ts"

const limit = 100_000
const pattern = (length: number) => Uint8Array.from({ length }, (_, i) => (i * 7 + (i >> 8)) & 255)

interface Frame {
  code: number
  payload: Uint8Array
  last?: boolean
  key?: number[]
  masked?: boolean
  reserved?: number
}

/** A client's frame. */
function frame({ code, payload, last = true, key = [0x12, 0xa5, 0xff, 0x03], masked = true, reserved = 0 }: Frame) {
  const head = frameHead(code, payload.length).slice()
  head[0] = (last ? 0x80 : 0) | reserved | code
  if (masked) head[1]! |= 0x80
  const body = masked ? payload.map((byte, i) => byte ^ key[i & 3]!) : payload
  return Buffer.concat([head, masked ? Uint8Array.from(key) : new Uint8Array(0), body])
}

/** What comes out of the bytes when they come in pieces of that size. */
function read(bytes: Uint8Array, pieceBytes = bytes.length): string[] {
  const seen: string[] = []
  const note = (what: string) => (code: number, payload: Uint8Array) => {
    seen.push(`${what} ${code} ${payload.length} ${Bun.hash(payload)}`)
  }
  const reader = new ServerFrameReader({ message: note("message"), control: note("control") }, limit)
  for (let at = 0; at < bytes.length; at += pieceBytes)
    reader.push(Uint8Array.from(bytes.subarray(at, at + pieceBytes)))
  return seen
}

const seenAs = (what: string, code: number, payload: Uint8Array) =>
  `${what} ${code} ${payload.length} ${Bun.hash(payload)}`
const isMessage = (payload: Uint8Array, code: number = opcode.binary) => seenAs("message", code, payload)

describe("a client's frames", () => {
  const lengths = [0, 1, 2, 3, 4, 5, 125, 126, 127, 1_000, 65_535, 65_536, 70_001]

  test.each(lengths)("a message of %d bytes is the same whatever the key and the pieces", (length) => {
    const payload = pattern(length)
    for (const key of [
      [0x12, 0xa5, 0xff, 0x03],
      [0, 0, 0, 0],
      [0xff, 0xff, 0xff, 0xff],
    ]) {
      const bytes = frame({ code: opcode.binary, payload, key })
      for (const piece of [bytes.length, 1_021, ...(length < 2_000 ? [1, 2, 3, 5, 7] : [])]) {
        expect(read(bytes, piece)).toEqual([isMessage(payload)])
      }
    }
  })

  test("several in one chunk come in order", () => {
    const payloads = lengths.slice(0, 10).map(pattern)
    const bytes = Buffer.concat(payloads.map((payload) => frame({ code: opcode.binary, payload })))
    expect(read(bytes)).toEqual(payloads.map((payload) => isMessage(payload)))
  })

  test("a message in fragments is one, and a ping between them is heard at once", () => {
    const [ping, whole] = [pattern(9), pattern(50)]
    const bytes = Buffer.concat([
      frame({ code: opcode.text, payload: whole.subarray(0, 20), last: false }),
      frame({ code: opcode.ping, payload: ping }),
      frame({ code: opcode.continuation, payload: whole.subarray(20, 20), last: false }),
      frame({ code: opcode.continuation, payload: whole.subarray(20) }),
    ])
    for (const piece of [bytes.length, 1, 3]) {
      expect(read(bytes, piece)).toEqual([seenAs("control", opcode.ping, ping), isMessage(whole, opcode.text)])
    }
  })

  test("messages in fragments, with pings in pieces between them, leave nothing behind for the next", () => {
    const payloads = [60_000, 50_000, 7, 70_000].map(pattern)
    const frames = payloads.flatMap((payload, i) => [
      frame({ code: opcode.binary, payload: payload.subarray(0, payload.length >> 1), last: false }),
      frame({ code: opcode.ping, payload: pattern(i + 2) }),
      frame({ code: opcode.continuation, payload: payload.subarray(payload.length >> 1) }),
    ])
    for (const piece of [1 << 20, 4_099, 3]) {
      expect(read(Buffer.concat(frames), piece)).toEqual(
        payloads.flatMap((payload, i) => [seenAs("control", opcode.ping, pattern(i + 2)), isMessage(payload)]),
      )
    }
  })

  test("the longest message passes, a longer one does not, in whatever fragments", () => {
    const half = pattern(limit / 2)
    const first = { code: opcode.binary, payload: half, last: false }
    expect(read(frame({ code: opcode.binary, payload: pattern(limit) }))).toHaveLength(1)
    const fragments = Buffer.concat([frame(first), frame({ code: opcode.continuation, payload: half })])
    expect(read(fragments)).toHaveLength(1)
    expect(() => read(frame({ code: opcode.binary, payload: pattern(limit + 1) }))).toThrow("longer than")
    const more = Buffer.concat([frame(first), frame({ code: opcode.continuation, payload: pattern(limit / 2 + 1) })])
    expect(() => read(more)).toThrow("longer than")
  })

  test.each<[string, Frame[], string]>([
    ["without a mask", [{ code: opcode.binary, payload: pattern(3), masked: false }], "agreed"],
    ["with an extension's bit", [{ code: opcode.binary, payload: pattern(3), reserved: 0x40 }], "agreed"],
    ["of a kind there is not", [{ code: 3, payload: pattern(3) }], "kind 3"],
    ["of a control kind there is not", [{ code: 11, payload: pattern(3) }], "kind 11"],
    ["that goes on with nothing", [{ code: opcode.continuation, payload: pattern(3) }], "order"],
    [
      "that begins inside a message",
      [
        { code: opcode.binary, payload: pattern(3), last: false },
        { code: opcode.binary, payload: pattern(3) },
      ],
      "order",
    ],
    ["that controls in fragments", [{ code: opcode.ping, payload: pattern(3), last: false }], "controls"],
    ["that controls at length", [{ code: opcode.close, payload: pattern(126) }], "controls"],
  ])("a frame %s ends it", (_what, frames, why) => {
    expect(() => read(Buffer.concat(frames.map(frame)))).toThrow(why)
  })
})
