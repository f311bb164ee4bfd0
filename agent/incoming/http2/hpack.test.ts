import { expect, test } from "bun:test"
import { encodeStateless, HpackDecoder } from "./hpack.ts"

const hex = (text: string) => Buffer.from(text.replace(/\s/g, ""), "hex")

test("three requests of RFC 7541, C.4: Huffman codes and a growing table", () => {
  const decoder = new HpackDecoder()
  const common = [
    [":method", "GET"],
    [":scheme", "http"],
    [":path", "/"],
    [":authority", "www.example.com"],
  ] as const
  expect(decoder.decode(hex("828684418cf1e3c2e5f23a6ba0ab90f4ff"))).toEqual([...common])
  expect(decoder.decode(hex("828684be5886a8eb10649cbf"))).toEqual([...common, ["cache-control", "no-cache"]])
  expect(decoder.decode(hex("828785bf408825a849e95ba97d7f8925a849e95bb8e8b4bf"))).toEqual([
    [":method", "GET"],
    [":scheme", "https"],
    [":path", "/index.html"],
    [":authority", "www.example.com"],
    ["custom-key", "custom-value"],
  ])
})

test("a table that may hold little forgets its oldest entries", () => {
  const decoder = new HpackDecoder()
  // Size 64 holds one short entry; the second evicts the first.
  expect(decoder.decode(hex("3f21 4001610162 4001630164"))).toEqual([
    ["a", "b"],
    ["c", "d"],
  ])
  expect(decoder.decode(hex("be"))).toEqual([["c", "d"]])
  expect(decoder.decode(hex("bf"))).toBeUndefined()
})

test.each([
  ["an index of nothing", "80"],
  ["an index beyond the table", "ff00"],
  ["a string that ends too early", "400361"],
  ["an integer without an end", "ffffffffffffffffff"],
  ["a table larger than allowed", "3fffff03"],
  ["a change of size in the middle", "8220"],
  ["wrong padding of a Huffman code", "4081e0 0161"],
  ["the end-of-string symbol", "4084ffffffff 0161"],
])("%s breaks the block", (_, block) => {
  expect(new HpackDecoder().decode(hex(block))).toBeUndefined()
})

test("a small block cannot unfold into a huge list", () => {
  const decoder = new HpackDecoder()
  const entry = Buffer.concat([hex("400161 7f811e"), Buffer.alloc(3968 + 0, "x")])
  decoder.decode(entry)
  expect(decoder.decode(Buffer.alloc(2000, 0xbe))).toBeUndefined()
})

test("what is encoded without state reads back, and leaves no trace in the table", () => {
  const fields = [
    [":status", "200"],
    ["content-type", "text/plain"],
    ["x-long", "y".repeat(5000)],
  ] as const
  const decoder = new HpackDecoder()
  expect(decoder.decode(encodeStateless(fields))).toEqual([...fields])
  expect(decoder.decode(hex("be"))).toBeUndefined()
})
