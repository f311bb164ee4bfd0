import { expect, test } from "bun:test"
import type { RawSocket } from "../../../kube/dial.ts"
import { KubeWebSocket } from "../../../kube/websocket.ts"
import { asWebSocketLike } from "./socket.ts"

/** Each write that reaches the network, as the lengths of the messages in it; and the end. */
function open() {
  const seen: (number[] | string)[] = []
  const socket: RawSocket = {
    handlers: { data() {}, drain() {}, closed() {} },
    queuedBytes: 0,
    write: (bytes) => void seen.push(lengthsOf(bytes)),
    writeCopy: (bytes) => void seen.push(lengthsOf(bytes)),
    pause() {},
    resume() {},
    end: () => void seen.push("end"),
    abort: () => void seen.push("end"),
  }
  return { seen, like: asWebSocketLike(new KubeWebSocket(socket, "", false)) }
}

/** Frames of a client: two bytes, the length when it is longer, four of a key. */
function lengthsOf(bytes: Uint8Array): number[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const lengths: number[] = []
  for (let at = 0; at < bytes.byteLength; ) {
    const small = bytes[at + 1]! & 0x7f
    const [length, head] =
      small === 126 ? [view.getUint16(at + 2), 8] : small === 127 ? [Number(view.getBigUint64(at + 2)), 14] : [small, 6]
    lengths.push(length)
    at += head + length
  }
  return lengths
}

const bytes = (length: number) => new Uint8Array(length)
const nextTurn = () => new Promise(setImmediate)

test("messages of one turn leave in one write, those of the next in another", async () => {
  const { seen, like } = open()
  for (let i = 0; i < 16; i++) like.sendParts!([bytes(3), bytes(200)])
  expect(like.bufferedAmount).toBe(16 * 203)
  expect(seen).toEqual([])
  await nextTurn()
  expect(seen).toEqual([Array(16).fill(203)])
  expect(like.bufferedAmount).toBe(0)
  like.send(bytes(1))
  await nextTurn()
  expect(seen.slice(1)).toEqual([[1]])
})

test("what fills a write leaves at once, with what came before it", () => {
  const { seen, like } = open()
  like.send(bytes(10))
  like.send(bytes(100_000))
  expect(seen).toEqual([[10, 100_000]])
})

test.each(["close", "terminate"] as const)("%s comes after what was sent", async (how) => {
  const { seen, like } = open()
  like.send(bytes(10))
  like[how]()
  const sent = seen.slice()
  expect(sent[0]).toEqual([10])
  await nextTurn()
  expect(seen).toEqual(sent)
})
