import { expect, test } from "bun:test"
import { RecordWriter } from "./record-writer.ts"

/** What a socket is given, as the sizes of its writes and as one text of bytes. */
function recorder() {
  const writes: Uint8Array[] = []
  const writer = new RecordWriter({ write: (bytes) => void writes.push(Uint8Array.from(bytes)) })
  return { writer, sizes: () => writes.map(({ length }) => length), all: () => Buffer.concat(writes) }
}
const piece = (length: number, seed: number) => new Uint8Array(length).map((_, at) => (at * 7 + seed) & 0xff)

test.each<[sentence: string, given: number[], written: number[]]>([
  ["a head leaves with its payload, in whole records", [10, 100_000], [16_384, 83_626]],
  ["a payload that fits leaves with its head", [10, 9_000], [9_010]],
  ["heads and payloads that take turns do so, too", [10, 20_000, 12, 30_000], [16_384, 3_626, 16_384, 13_628]],
  ["a payload without a head is written as it is", [50_000], [50_000]],
  ["a small message leaves alone when nothing follows", [7], [7]],
  ["two small ones leave together", [7, 8], [15]],
  ["a small one behind a large one is not forgotten", [20_000, 9], [20_000, 9]],
])("%s", async (_, given, written) => {
  const { writer, sizes, all } = recorder()
  const pieces = given.map(piece)
  for (const bytes of pieces) writer.write(bytes)
  await Promise.resolve()
  expect(sizes()).toEqual(written)
  expect(all().equals(Buffer.concat(pieces))).toBe(true)
})

test("what waits can be sent at once, before an end", () => {
  const { writer, sizes } = recorder()
  writer.write(piece(5, 0))
  writer.flush()
  expect(sizes()).toEqual([5])
  writer.flush()
  expect(sizes()).toEqual([5])
})
