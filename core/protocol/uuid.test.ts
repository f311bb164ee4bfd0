import { expect, test } from "bun:test"
import { u128 } from "./primitives.ts"
import { Reader } from "./reader.ts"
import { uid } from "./uuid.ts"
import { Writer } from "./writer.ts"

function written(write: (writer: Writer) => void): string {
  const writer = new Writer()
  write(writer)
  return Buffer.concat(writer.take()).toString("hex")
}

test.each([
  "00112233-4455-6677-8899-aabbccddeeff",
  "ffffffff-ffff-ffff-ffff-ffffffffffff",
  "00000000-0000-0001-0000-000000000000",
  "00000000-0000-0000-ffff-ffffffffffff",
  "00000000-0000-0000-0000-0000000000fb",
  "00000000-0000-0000-0000-000000000000",
  crypto.randomUUID(),
])("%s travels as its number and comes back", (text) => {
  const bytes = written((writer) => uid.write(writer, text))
  expect(bytes).toBe(written((writer) => u128.write(writer, BigInt(`0x${text.replaceAll("-", "")}`))))
  expect(uid.read(new Reader(Buffer.from(bytes, "hex")))).toBe(text)
})

test("capitals mean the same; what is no UUID is refused", () => {
  const text = crypto.randomUUID()
  const bytes = written((writer) => uid.write(writer, text))
  expect(written((writer) => uid.write(writer, text.toUpperCase()))).toBe(bytes)
  for (const bad of [
    text.slice(1),
    text.replaceAll("-", ""),
    ...["g", "G", "`", "@", "/", ":"].map((other) => text.replace(/[0-9a-f]/, other)),
    text.replace("-", "0"),
    "",
  ])
    expect(() => written((writer) => uid.write(writer, bad))).toThrow("UUID")
})

test("a number cut short is incomplete, one too wide by its marker an error", () => {
  const bytes = Buffer.from(
    written((writer) => uid.write(writer, crypto.randomUUID())),
    "hex",
  )
  expect(() => uid.read(new Reader(bytes.subarray(0, 16)))).toThrow()
  expect(() => uid.read(new Reader(Buffer.of(255, ...bytes.subarray(1))))).toThrow("too wide")
})
