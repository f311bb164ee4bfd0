import { describe, expect, test } from "bun:test"
import { goldenMessages } from "../../test/cases/protocol/vectors.ts"

const messages = await goldenMessages()
/** Up to this length every cut of a message is tried, in bytes. */
const shortMessageBytes = 512

test("there are 744 golden messages", () => {
  expect(messages.length).toBe(744)
})

describe("golden messages", () => {
  test.each(messages.map((message) => [message.name, message] as const))("%s", (_name, { codec, bytes, value }) => {
    const first = codec.decodeFirst(bytes)
    expect(first?.message).toEqual(value)
    expect(first?.length).toBe(bytes.length)
    expect(Buffer.from(codec.encode(value)).equals(bytes)).toBe(true)

    const cuts = bytes.length <= shortMessageBytes ? bytes.keys() : [1, bytes.length >> 1, bytes.length - 1]
    for (const cut of cuts) expect(codec.decodeFirst(bytes.subarray(0, cut))).toBeUndefined()
  })
})
