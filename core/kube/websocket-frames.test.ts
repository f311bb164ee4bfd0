import { expect, test } from "bun:test"
import { opcode } from "../link/server-frames.ts"
import { frameChunks } from "./websocket-frames.ts"

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
