import { expect, test } from "bun:test"
import { AddedFields } from "./added-fields.ts"
import { encodeFrame, FrameReader, flags, frameTypes } from "./frames.ts"
import { encodeStateless, type HeaderField, HpackDecoder } from "./hpack.ts"

/* What an application sends on stream 1, frame by frame, and what a caller reads of it when its answer is to carry something. */

const cookie: HeaderField = ["set-cookie", "a=b"]
const { headers, continuation, data, resetStream } = frameTypes
const block = (type: number, bits: number, fields: HeaderField[], stream = 1) =>
  encodeFrame(type, bits, stream, encodeStateless(fields))

/** Each header block with whether it ends the stream, and each other frame's type. */
function read(frames: Buffer[], added = new AddedFields()): unknown[] {
  added.add(1, [cookie])
  const seen: unknown[] = []
  const decoder = new HpackDecoder()
  let pieces: Buffer[] = []
  let endsStream = false
  for (const frame of frames.flatMap((bytes) => new FrameReader().feed(bytes)).flatMap((frame) => added.into(frame))) {
    // What is written is what is described.
    expect(new FrameReader().feed(frame.bytes)).toEqual([frame])
    if (frame.type !== headers && frame.type !== continuation) {
      seen.push(frame.type)
      continue
    }
    expect(frame.type === headers).toBe(pieces.length === 0)
    if (frame.type === headers) endsStream = (frame.flags & flags.endStream) !== 0
    pieces.push(frame.payload)
    if (!(frame.flags & flags.endHeaders)) continue
    const fields = decoder.decode(Buffer.concat(pieces))?.map((field) => field.join("="))
    seen.push([endsStream, ...(fields ?? ["unreadable"])])
    pieces = []
  }
  return seen
}

const ok: HeaderField = [":status", "200"]
const { endHeaders, endStream } = flags
test.each<[string, Buffer[], unknown[]]>([
  [
    "an answer in one block",
    [block(headers, endHeaders, [ok]), encodeFrame(data, endStream, 1)],
    [[false, ":status=200", "set-cookie=a=b"], data],
  ],
  [
    "an answer that is only headers",
    [block(headers, endHeaders | endStream, [ok])],
    [[true, ":status=200", "set-cookie=a=b"]],
  ],
  [
    "headers in several frames",
    [block(headers, 0, [ok]), block(continuation, 0, [["a", "1"]]), block(continuation, endHeaders, [["b", "2"]])],
    [[false, ":status=200", "a=1", "b=2", "set-cookie=a=b"]],
  ],
  [
    "trailers are left alone, behind data or at once",
    [block(headers, endHeaders, [ok]), block(headers, endHeaders | endStream, [["grpc-status", "0"]])],
    [
      [false, ":status=200", "set-cookie=a=b"],
      [true, "grpc-status=0"],
    ],
  ],
  [
    "an interim answer, and then the real one",
    [block(headers, endHeaders, [[":status", "103"]]), block(headers, endHeaders, [ok])],
    [
      [false, ":status=103", "set-cookie=a=b"],
      [false, ":status=200", "set-cookie=a=b"],
    ],
  ],
  ["an answer on another stream", [block(headers, endHeaders, [ok], 3)], [[false, ":status=200"]]],
  ["none, because it was taken back", [encodeFrame(resetStream, 0, 1, Buffer.alloc(4))], [resetStream]],
])("%s", (_, frames, expected) => {
  expect(read(frames)).toEqual(expected)
})

test("who never answers is forgotten in the end", () => {
  const added = new AddedFields()
  for (let stream = 3; stream < 2 * 1024 + 1; stream += 2) added.add(stream, [cookie])
  expect(read([block(headers, endHeaders, [ok])], added)).toEqual([[false, ":status=200", "set-cookie=a=b"]])
  added.add(2 * 1024 + 1, [cookie])
  expect(read([block(headers, endHeaders, [ok], 3)], added)).toEqual([[false, ":status=200"]])
})
