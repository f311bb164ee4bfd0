import { expect, test } from "bun:test"
import { TcpStream } from "./tcp-stream.ts"

/** Numbers from 0 to below `limit`, the same in every run. */
function dice(seed: number): (limit: number) => number {
  let state = seed | 1
  return (limit) => {
    state = (Math.imul(state, 1664525) + 1013904223) | 0
    return (((state >>> 0) / 2 ** 32) * limit) | 0
  }
}

interface Segment {
  position: number
  bytes: Buffer
  last: boolean
}

/** `original` cut into segments that overlap, repeat and swap places. */
function shuffled(original: Buffer, roll: (limit: number) => number): Segment[] {
  const segments: Segment[] = []
  for (let position = 0; position < original.length; ) {
    const length = Math.min(1 + roll(3000), original.length - position)
    const from = Math.max(0, position - (roll(3) === 0 ? roll(2000) : 0))
    const segment = { position: from, bytes: original.subarray(from, position + length), last: false }
    segments.push(segment)
    if (roll(5) === 0) segments.push(segment)
    position += length
  }
  segments.push({ position: original.length, bytes: Buffer.alloc(0), last: true })
  for (let at = 0; at < segments.length; at++) {
    const other = Math.min(segments.length - 1, at + roll(8))
    const moved = segments[at]!
    segments[at] = segments[other]!
    segments[other] = moved
  }
  return segments
}

test("segments in any order, repeated and overlapping, give the stream that was sent, also across the wrap", () => {
  for (let seed = 1; seed <= 300; seed++) {
    const roll = dice(seed * 7919)
    const original = Buffer.from(Array.from({ length: roll(40_000) }, () => roll(256)))
    const first = seed % 2 ? 0xffff_ffff - roll(40_000) : roll(2 ** 31)
    const stream = new TcpStream(first)
    const received: Buffer[] = []
    for (const { position, bytes, last } of shuffled(original, roll)) {
      // A buffer that is used again, as the one that receives is.
      const lent = Buffer.from(bytes)
      for (const part of stream.take((first + position) >>> 0, lent, last)) received.push(Buffer.from(part))
      lent.fill(0)
    }
    expect(Buffer.concat(received).equals(original)).toBe(true)
    expect([stream.ended, stream.hasGap, stream.lost]).toEqual([true, false, false])
  }
})

test("with a segment missing, only what was sent before it comes, and the gap shows", () => {
  for (let seed = 1; seed <= 100; seed++) {
    const roll = dice(seed * 104_729)
    const original = Buffer.from(Array.from({ length: 20_000 }, () => roll(256)))
    const missing = roll(19_000)
    const stream = new TcpStream(5)
    const received: Uint8Array[] = []
    for (const { position, bytes, last } of shuffled(original, roll)) {
      if (position <= missing && position + bytes.length > missing) continue
      received.push(...stream.take(5 + position, bytes, last))
    }
    const seen = Buffer.concat(received)
    expect(seen.length).toBeLessThanOrEqual(missing)
    expect(seen.equals(original.subarray(0, seen.length))).toBe(true)
    expect([stream.ended, stream.hasGap]).toEqual([false, true])
  }
})

test("a keep-alive probe's byte of the past changes nothing, nor does what follows the end", () => {
  const stream = new TcpStream(1000)
  expect(Buffer.concat(stream.take(1000, Buffer.from("abc"), false)).toString()).toBe("abc")
  expect(stream.take(1002, Buffer.from("?"), false)).toEqual([])
  expect(Buffer.concat(stream.take(1003, Buffer.from("d"), true)).toString()).toBe("d")
  expect(stream.ended).toBe(true)
  expect(stream.take(1004, Buffer.from("e"), false)).toEqual([])
})

test("what was held for a place behind the end is not part of the stream", () => {
  const stream = new TcpStream(0)
  stream.take(1, Buffer.from("b?"), false)
  stream.take(1, Buffer.from("b"), true)
  expect(Buffer.concat(stream.take(0, Buffer.from("a"), false)).toString()).toBe("ab")
  expect([stream.ended, stream.hasGap]).toEqual([true, false])
})

test("where two segments differ, what came first counts", () => {
  const stream = new TcpStream(0)
  stream.take(0, Buffer.from("ab"), false)
  expect(Buffer.concat(stream.take(0, Buffer.from("XYc"), false)).toString()).toBe("c")
})

test("an old reset does not end a connection, one that is due does", () => {
  const stream = new TcpStream(0xffff_fffe)
  stream.take(0xffff_fffe, Buffer.from("abcd"), false)
  expect(stream.acceptsReset(0xffff_fffe)).toBe(false)
  expect(stream.acceptsReset(2)).toBe(true)
})

test("what waits behind a gap is bounded, also in tiny segments; then the stream is lost and holds nothing", () => {
  const large = new TcpStream(0)
  for (let at = 0; at < 200 && !large.lost; at++) large.take(1 + at * 65_000, Buffer.alloc(65_000), false)
  expect(large.lost).toBe(true)
  expect(large.take(0, Buffer.from("a"), false)).toEqual([])

  const tiny = new TcpStream(0)
  let count = 0
  while (!tiny.lost && count < 100_000) tiny.take(1 + count++, Buffer.from("a"), false)
  expect(count).toBeLessThan(40_000)

  const within = new TcpStream(0)
  for (let at = 0; at < 60; at++) within.take(1 + at * 65_000, Buffer.alloc(65_000), false)
  expect(Buffer.concat(within.take(0, Buffer.from("a"), false)).length).toBe(1 + 60 * 65_000)
})
