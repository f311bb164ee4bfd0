import { afterEach, beforeEach, expect, jest, test } from "bun:test"
import type { AgentClient } from "../feature.ts"
import { Budget } from "./budget.ts"
import { OutgoingConnection } from "./connection.ts"
import { Leftovers } from "./leftovers.ts"
import type { OutgoingSocket } from "./socket.ts"

beforeEach(() => void jest.useFakeTimers())
afterEach(() => void jest.useRealTimers())

/** A connection to a peer that takes `room` bytes, and more each time room is made. */
function connection(room: number, leftovers = new Leftovers()) {
  const told: (string | undefined)[] = []
  let wasReset = false
  let wasClosed = false
  const socket = {
    start() {},
    write(chunk: Uint8Array) {
      const taken = Math.min(room, chunk.length)
      room -= taken
      return taken
    },
    endWriting() {},
    pause() {},
    resume() {},
    close: () => (wasClosed = true),
    reset: () => (wasReset = true),
  } as unknown as OutgoingSocket
  const budget = new Budget({ holdInput: () => () => {} } as unknown as AgentClient, leftovers)
  const made = new OutgoingConnection(socket, budget, { data() {}, end() {}, over: (why) => told.push(why) })
  made.start()
  return {
    made,
    told,
    wasReset: () => wasReset,
    wasClosed: () => wasClosed,
    makeRoom(bytes: number) {
      room += bytes
      made.drain()
    },
  }
}

test("a peer that takes nothing for 30 s is given up, and the client told why", () => {
  const { made, told, wasReset } = connection(10)
  made.write(new Uint8Array(100))
  jest.advanceTimersByTime(29_900)
  expect([told, wasReset()]).toEqual([[], false])
  jest.advanceTimersByTime(200)
  expect([told, wasReset()]).toEqual([["the peer takes no data"], true])
})

test("one that takes a little now and then is not, however long all of it needs", () => {
  const { made, told, wasReset, makeRoom } = connection(0)
  made.write(new Uint8Array(10))
  for (let round = 0; round < 10; round++) {
    jest.advanceTimersByTime(20_000)
    makeRoom(1)
  }
  jest.advanceTimersByTime(120_000)
  expect([told, wasReset()]).toEqual([[], false])
})

test("clients leave behind 64 MiB at most for peers that are slow, and what has been sent makes room again", () => {
  const leftovers = new Leftovers()
  const piece = new Uint8Array(8 << 20)
  const leave = () => {
    const left = connection(0, leftovers)
    left.made.write(piece)
    left.made.abandon()
    return left
  }
  const kept = Array.from({ length: 7 }, leave)
  expect(kept.map(({ wasReset }) => wasReset())).toEqual(Array(7).fill(false))
  expect(leave().wasReset()).toBe(true)
  kept[0]!.makeRoom(piece.length)
  expect([kept[0]!.wasClosed(), kept[0]!.wasReset()]).toEqual([true, false])
  expect(leave().wasReset()).toBe(false)
  jest.advanceTimersByTime(31_000)
  expect(kept[1]!.wasReset()).toBe(true)
  expect(leave().wasReset()).toBe(false)
})
