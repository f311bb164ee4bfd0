import { expect, test } from "bun:test"
import type { KubeWebSocket } from "../../../kube/websocket.ts"
import { asWebSocketLike } from "./socket.ts"

/** What reaches the socket: the number of messages in each write, and its end. */
function open() {
  const seen: (number | string)[] = []
  const socket = {
    queuedBytes: 0,
    attach() {},
    sendAll: (messages: unknown[]) => seen.push(messages.length) > 0,
    close: () => seen.push("closed"),
  }
  return { seen, like: asWebSocketLike(socket as unknown as KubeWebSocket) }
}

const bytes = (length: number) => new Uint8Array(length)
const nextTurn = () => new Promise(setImmediate)

test("messages of one turn leave in one write, those of the next in another", async () => {
  const { seen, like } = open()
  for (let i = 0; i < 16; i++) like.sendParts!([bytes(3), bytes(200)])
  expect(like.bufferedAmount).toBe(16 * 203)
  expect(seen).toEqual([])
  await nextTurn()
  expect(seen).toEqual([16])
  expect(like.bufferedAmount).toBe(0)
  like.send(bytes(1))
  await nextTurn()
  expect(seen).toEqual([16, 1])
})

test("what fills a write leaves at once, with what came before it", () => {
  const { seen, like } = open()
  like.send(bytes(10))
  like.send(bytes(100_000))
  expect(seen).toEqual([2])
})

test("a close comes after what was sent", async () => {
  const { seen, like } = open()
  like.send(bytes(10))
  like.close(1000)
  expect(seen).toEqual([1, "closed"])
  await nextTurn()
  expect(seen).toEqual([1, "closed"])
})
