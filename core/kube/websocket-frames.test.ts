import { describe, expect, test } from "bun:test"
import { frameHead, opcode } from "../link/server-frames.ts"
import { FrameReader, frameChunks } from "./websocket-frames.ts"

const payload = (length: number) => Buffer.alloc(length, "podside ")
const unmasked = (frame: Uint8Array, start: number) =>
  frame.slice(start).map((byte, i) => byte ^ frame[start - 4 + (i & 3)]!)

test.each([
  ["of few bytes", 5, 6],
  ["of some hundred bytes", 300, 8],
  ["of a bulk's piece", 64 << 10, 14],
  ["larger than what is used again", 200 << 10, 14],
])("a frame %s says what it holds, masked or with a key of nothing", (_, length, start) => {
  for (const mask of [true, false, true, false]) {
    const frame = Buffer.concat(
      frameChunks(
        opcode.binary,
        { parts: [payload(length).subarray(0, 3), payload(length).subarray(3)], length, isLast: true },
        mask,
      ),
    )
    expect(frame.length).toBe(start + length)
    expect(Buffer.from(unmasked(frame, start)).equals(payload(length))).toBe(true)
    expect(Buffer.from(frame.subarray(start - 4, start)).equals(Buffer.alloc(4))).toBe(!mask)
  }
})

describe("a server's frames", () => {
  /** `bits` are added to the first byte, `mask` to the second. */
  const frame = (code: number, content: Uint8Array, { last = true, bits = 0, mask = 0 } = {}) => {
    const head = frameHead(code, content.length, last)
    head[0]! |= bits
    head[1]! |= mask
    return Buffer.concat([head, content])
  }

  /** Whole messages and what controls, in their order, of bytes that come in pieces of that size. */
  function read(bytes: Uint8Array, pieceBytes = bytes.length): (Buffer | [code: number, text: string])[] {
    const seen: (Buffer | [number, string])[] = []
    let pieces: Uint8Array[] = []
    const reader = new FrameReader({
      data(piece, first, last) {
        expect(first).toBe(pieces.length === 0)
        pieces.push(piece)
        if (!last) return
        seen.push(Buffer.concat(pieces))
        pieces = []
      },
      control: (code, content) => seen.push([code, Buffer.from(content).toString()]),
    })
    for (let at = 0; at < bytes.length; at += pieceBytes) reader.push(bytes.subarray(at, at + pieceBytes))
    return seen
  }

  test.each([1, 2, 3, 1_021, 1 << 20])("are the same messages in pieces of %d bytes", (pieceBytes) => {
    const payloads = [5, 0, 125, 126, ...(pieceBytes < 100 ? [] : [65_535, 65_536])].map(payload)
    const bytes = Buffer.concat(payloads.map((content) => frame(opcode.binary, content)))
    expect(read(bytes, pieceBytes).map((seen) => Bun.hash(seen as Buffer))).toEqual(
      payloads.map((one) => Bun.hash(one)),
    )
  })

  test.each([1, 4, 1_000])(
    "of one message have others between them that control, in pieces of %d bytes",
    (pieceBytes) => {
      const bytes = Buffer.concat([
        frame(opcode.text, payload(20), { last: false }),
        frame(opcode.ping, Buffer.from("there?")),
        frame(opcode.continuation, payload(0), { last: false }),
        frame(opcode.pong, payload(0)),
        frame(opcode.continuation, payload(4)),
        frame(opcode.close, Buffer.from("bye")),
      ])
      const whole = Buffer.concat([payload(20), payload(4)])
      expect(read(bytes, pieceBytes)).toEqual([
        [opcode.ping, "there?"],
        [opcode.pong, ""],
        whole,
        [opcode.close, "bye"],
      ])
    },
  )

  const first = (length: number) => frame(opcode.binary, payload(length), { last: false })
  test.each<[what: string, bad: Uint8Array, words: string, good: Uint8Array]>([
    ["that is masked", frame(2, payload(4), { mask: 0x80 }), "unknown form", frame(2, payload(4))],
    ["with an extension's bit", frame(2, payload(4), { bits: 0x40 }), "unknown form", frame(2, payload(4))],
    ["larger than 64 MiB", frameHead(2, (64 << 20) + 1), "over the limit", frameHead(2, 64 << 20)],
    ["that controls at length", frame(9, payload(126)), "too long", frame(9, payload(125))],
    ["of a kind there is not", frame(3, payload(1)), "kind 3", frame(2, payload(1))],
    ["that controls in a way there is not", frame(11, payload(1)), "kind 11", frame(10, payload(1))],
    ["that goes on with nothing", frame(0, payload(1)), "order", Buffer.concat([first(1), frame(0, payload(1))])],
    ["inside a message", Buffer.concat([first(1), first(1)]), "order", Buffer.concat([first(1), frame(9, payload(1))])],
  ])("one %s is refused", (_, bad, words, good) => {
    expect(() => read(bad)).toThrow(words)
    expect(() => read(good)).not.toThrow()
  })
})
