import { describe, expect, test } from "bun:test"
import type { DaemonMessage } from "../protocol/index.ts"
import { servingSide } from "./side.ts"
import { StreamLink } from "./stream-link.ts"
import { writePieces } from "./write-pieces.ts"

const kib = 1024
const chunks = (...lengths: number[]) => lengths.map((length, index) => new Uint8Array(length).fill(index + 1))

describe("pieces for a carrier that takes one at a time", () => {
  test.each([
    ["nothing is nothing", [], []],
    ["small chunks leave together", [10, 20, 30], [60]],
    ["a head goes with its payload", [10, 64 * kib], [64 * kib + 10]],
    ["messages leave together up to the limit", [10, 64 * kib, 10, 64 * kib], [64 * kib + 20, 64 * kib]],
    ["a long payload lends its beginning to the head", [10, 512 * kib], [16 * kib, 496 * kib + 10]],
    ["a long payload alone is not copied", [512 * kib], [512 * kib]],
    ["what is long enough takes nothing along", [20 * kib, 512 * kib], [20 * kib, 512 * kib]],
  ])("%s", (_, given, expected) => {
    const pieces = writePieces(chunks(...given))
    expect(pieces.map(({ length }) => length)).toEqual(expected)
    expect(Buffer.concat(pieces).equals(Buffer.concat(chunks(...given)))).toBe(true)
  })

  test("a long payload is handed on by reference", () => {
    const [payload] = chunks(512 * kib)
    expect(writePieces([payload!])[0]!.buffer).toBe(payload!.buffer)
    expect(writePieces([new Uint8Array(10), payload!])[1]!.buffer).toBe(payload!.buffer)
  })
})

describe("when a stream link writes", () => {
  const data = (length: number): DaemonMessage => ({
    kind: "Tcp",
    value: { kind: "Data", value: { connectionId: 1n, bytes: new Uint8Array(length) } },
  })
  const linkTo = (writes: number[]) =>
    new StreamLink(
      {
        write(chunk) {
          writes.push(chunk.length)
          return chunk.length
        },
        pause() {},
        resume() {},
        end() {},
        destroy() {},
      },
      servingSide,
    )

  test("messages that fill writes leave at once, and leave no room to wait for", () => {
    const writes: number[] = []
    const link = linkTo(writes)
    for (let i = 0; i < 32; i++) expect(link.send(data(128 * kib))).toBe(true)
    expect(writes.reduce((sum, length) => sum + length, 0)).toBe(link.sentBytes)
    expect(writes.every((length) => length > kib)).toBe(true)
  })

  test("small ones of a turn leave in one write after it", async () => {
    const writes: number[] = []
    const link = linkTo(writes)
    for (let i = 0; i < 32; i++) link.send(data(100))
    expect(writes).toEqual([])
    await new Promise(setImmediate)
    expect(writes).toEqual([link.sentBytes])
  })
})
