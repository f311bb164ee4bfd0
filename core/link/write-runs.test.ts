import { describe, expect, test } from "bun:test"
import type { DaemonMessage } from "../protocol/index.ts"
import { servingSide } from "./side.ts"
import { StreamLink } from "./stream-link.ts"
import { lentPiece, writeRuns } from "./write-runs.ts"

const kib = 1024
const chunks = (...lengths: number[]) => lengths.map((length, index) => new Uint8Array(length).fill(index + 1))

describe("writes for a carrier that takes one at a time", () => {
  test.each([
    ["nothing is nothing", [], []],
    ["small chunks leave together", [10, 20, 30], [60]],
    ["a head goes with its payload", [10, 64 * kib], [64 * kib + 10]],
    ["messages leave together up to the limit", [10, 64 * kib, 10, 64 * kib], [64 * kib + 20, 64 * kib]],
    ["a long payload lends its beginning to the head", [10, 512 * kib], [16 * kib, 496 * kib + 10]],
    ["a long payload alone is not copied", [512 * kib], [512 * kib]],
    ["what is long enough takes nothing along", [20 * kib, 512 * kib], [20 * kib, 512 * kib]],
  ])("%s", (_, given, expected) => {
    const pieces = writeRuns(chunks(...given)).map((run) => Buffer.from(lentPiece(run)))
    expect(pieces.map(({ length }) => length)).toEqual(expected)
    expect(Buffer.concat(pieces).equals(Buffer.concat(chunks(...given)))).toBe(true)
  })

  test("a long payload is handed on by reference", () => {
    const [payload] = chunks(512 * kib)
    const last = (given: Uint8Array[]) => lentPiece(writeRuns(given).at(-1)!).buffer
    expect(last([payload!])).toBe(payload!.buffer)
    expect(last([new Uint8Array(10), payload!])).toBe(payload!.buffer)
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

  test("what is left of a piece is not what another link writes meanwhile", () => {
    const link = (room: number) => {
      const written: number[] = []
      const carrier = {
        keepsNothing: true,
        room,
        write(chunk: Uint8Array) {
          const taken = chunk.subarray(0, this.room)
          this.room -= taken.length
          written.push(...taken)
          return taken.length
        },
        pause() {},
        resume() {},
        end() {},
        destroy() {},
      }
      return { carrier, written, link: new StreamLink(carrier, servingSide) }
    }
    const message = (fill: number, length: number): DaemonMessage => ({
      kind: "Tcp",
      value: { kind: "Data", value: { connectionId: 1n, bytes: new Uint8Array(length).fill(fill) } },
    })
    const slow = link(1000)
    const other = link(Number.POSITIVE_INFINITY)
    slow.link.send(message(1, 64 * kib))
    other.link.send(message(2, 64 * kib))
    slow.carrier.room = Number.POSITIVE_INFINITY
    slow.link.drained()
    expect(slow.written.length).toBe(slow.link.sentBytes)
    expect(slow.written.indexOf(2, 10)).toBe(-1)
    expect(other.written.length).toBe(other.link.sentBytes)
  })
})
