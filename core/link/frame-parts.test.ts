import { expect, test } from "bun:test"
import { Duplex } from "node:stream"
import type { RawSocket } from "../kube/dial.ts"
import { KubeWebSocket } from "../kube/websocket.ts"
import { FrameReader } from "../kube/websocket-frames.ts"
import { type DaemonMessage, daemonMessage, defaultLimits } from "../protocol/index.ts"
import { cutIntoFrames, maxFrameBytes } from "./frame-parts.ts"
import { servedWebSocketLink, servingSide } from "./index.ts"
import { ServerFrameReader } from "./server-frames.ts"

const payload = Buffer.alloc(2 * maxFrameBytes + 5, "seventeen bytes. ")
const megabytes = [maxFrameBytes, maxFrameBytes, 5]

/** [is the last of its message, code, payload length] of every frame. */
function heads(bytes: Buffer): [isLast: boolean, code: number, length: number][] {
  const found: [boolean, number, number][] = []
  for (let at = 0; at < bytes.length; ) {
    const small = bytes[at + 1]! & 0x7f
    const head = (small === 127 ? 10 : small === 126 ? 4 : 2) + (bytes[at + 1]! & 0x80 ? 4 : 0)
    const length =
      small === 127 ? Number(bytes.readBigUInt64BE(at + 2)) : small === 126 ? bytes.readUInt16BE(at + 2) : small
    found.push([(bytes[at]! & 0x80) !== 0, bytes[at]! & 0x0f, length])
    at += head + length
  }
  return found
}

test.each([
  ["one part", [payload]],
  [
    "parts that end in the middle of frames",
    [payload.subarray(0, 7), payload.subarray(7, 20 << 20), payload.subarray(20 << 20)],
  ],
  ["parts that end with a frame", [payload.subarray(0, maxFrameBytes), payload.subarray(maxFrameBytes)]],
])("a message of %s is cut at the limit", (_, parts) => {
  const frames = cutIntoFrames(parts, payload.length)
  expect(frames.map(({ length, isFirst, isLast }) => [length, isFirst, isLast])).toEqual([
    [maxFrameBytes, true, false],
    [maxFrameBytes, false, false],
    [5, false, true],
  ])
  expect(Buffer.concat(frames.flatMap(({ parts }) => parts)).equals(payload)).toBe(true)
  expect(frames.map(({ parts }) => parts.reduce((sum, { length }) => sum + length, 0))).toEqual(megabytes)
})

test.each([0, 1, maxFrameBytes])("a message of %d bytes is one frame", (length) => {
  const whole = payload.subarray(0, length)
  expect(cutIntoFrames([whole], length)).toEqual([{ parts: [whole], length, isFirst: true, isLast: true }])
})

test("what a client sends beyond 16 MiB goes out in several frames, and the operator reads one message", () => {
  const written: Buffer[] = []
  const socket: RawSocket = {
    handlers: { data() {}, drain() {}, closed() {} },
    queuedBytes: 0,
    write: (bytes) => void written.push(Buffer.from(bytes)),
    writeCopy: (bytes) => void written.push(Buffer.from(bytes)),
    pause() {},
    resume() {},
    end() {},
    abort() {},
  }
  const client = new KubeWebSocket(socket, "", true)
  client.send([payload])
  client.send([Buffer.from("next")])
  const bytes = Buffer.concat(written)
  expect(heads(bytes)).toEqual([
    [false, 2, maxFrameBytes],
    [false, 0, maxFrameBytes],
    [true, 0, 5],
    [true, 2, 4],
  ])
  const messages: Uint8Array[] = []
  const reader = new ServerFrameReader({ message: (_, message) => messages.push(message), control() {} }, 64 << 20)
  reader.push(bytes)
  expect(messages.map(({ length }) => length)).toEqual([payload.length, 4])
  expect(Buffer.from(messages[0]!).equals(payload)).toBe(true)
})

test("what an operator sends beyond 16 MiB goes out in several frames, and a client reads one message", async () => {
  const written: Buffer[] = []
  const done = Promise.withResolvers<void>()
  const socket = new Duplex({
    read() {},
    write(chunk, _, callback) {
      written.push(chunk)
      callback()
      done.resolve()
    },
  })
  const link = servedWebSocketLink(socket, new Uint8Array(0), servingSide)
  const message: DaemonMessage = {
    kind: "TcpSteal",
    value: { kind: "Data", value: { connectionId: 1n, bytes: payload } },
  }
  link.send(message)
  await done.promise
  // What does not fill a write leaves with the turn.
  await new Promise(setImmediate)
  const bytes = Buffer.concat(written)
  const whole = daemonMessage.encode(message)
  expect(heads(bytes)).toEqual([
    [false, 2, maxFrameBytes],
    [false, 0, maxFrameBytes],
    [true, 0, whole.length - 2 * maxFrameBytes],
  ])
  const pieces: Uint8Array[] = []
  let ends = 0
  const reader = new FrameReader({
    data(piece, _first, last) {
      pieces.push(piece)
      if (last) ends++
    },
    control() {},
  })
  reader.push(bytes)
  expect(ends).toBe(1)
  expect(Bun.deepEquals(daemonMessage.decode(Buffer.concat(pieces), defaultLimits), message)).toBe(true)
  link.abort()
})
