import { afterEach, beforeEach, expect, jest, test } from "bun:test"
import type { AgentClient } from "../feature.ts"
import { Budget } from "./budget.ts"
import { OutgoingConnection } from "./connection.ts"
import type { OutgoingSocket } from "./socket.ts"

beforeEach(() => void jest.useFakeTimers())
afterEach(() => void jest.useRealTimers())

/** A connection to a peer that takes `room` bytes, and more each time room is made. */
function connection(room: number) {
  const told: (string | undefined)[] = []
  let wasReset = false
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
    close() {},
    reset: () => (wasReset = true),
  } as unknown as OutgoingSocket
  const budget = new Budget({ holdInput: () => () => {} } as unknown as AgentClient)
  const made = new OutgoingConnection(socket, budget, { data() {}, end() {}, over: (why) => told.push(why) })
  made.start()
  return {
    made,
    told,
    wasReset: () => wasReset,
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
