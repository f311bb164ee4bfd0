import { expect, test } from "bun:test"
import { readLines } from "./lines.ts"

async function linesOf(pieces: (string | Uint8Array)[]): Promise<string[]> {
  const bytes = pieces.map((piece) => (typeof piece === "string" ? new TextEncoder().encode(piece) : piece))
  const body = new ReadableStream<Uint8Array>({
    start(controller) {
      for (const piece of bytes) controller.enqueue(piece)
      controller.close()
    },
  })
  const lines: string[] = []
  for await (const line of readLines(body)) lines.push(line)
  return lines
}

const letters = new TextEncoder().encode("ä\n€")

test.each<[string, (string | Uint8Array)[], string[]]>([
  ["nothing", [], []],
  ["one without an end", ["a"], ["a"]],
  ["empty ones", ["a\n\n", "\nb\n"], ["a", "", "", "b"]],
  ["one in pieces", ["a", "b", "c\nd"], ["abc", "d"]],
  ["letters cut apart", [...letters].map((byte) => Uint8Array.of(byte)), ["ä", "€"]],
])("lines: %s", async (_, pieces, lines) => {
  expect(await linesOf(pieces)).toEqual(lines)
})

test("a line of 16 MiB is taken, one that never ends is not kept", async () => {
  const mebibyte = "x".repeat(1 << 20)
  const pieces = Array<string>(16).fill(mebibyte)
  expect(await linesOf([...pieces, "\n"])).toEqual([mebibyte.repeat(16)])
  await expect(linesOf([...pieces, "x"])).rejects.toMatchObject({ code: "kube-bad-answer" })
})
