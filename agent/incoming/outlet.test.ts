import { afterEach, beforeEach, expect, jest, test } from "bun:test"
import type { TcpSocket } from "../../core/interceptor.ts"
import { Outlet } from "./outlet.ts"

beforeEach(() => void jest.useFakeTimers())
afterEach(() => void jest.useRealTimers())

/** A socket whose peer takes `room` bytes, and more each time room is made. */
function outlet(room: number) {
  const ends: string[] = []
  const socket = {
    write(bytes: Uint8Array) {
      const taken = Math.min(room, bytes.length)
      room -= taken
      return taken
    },
    end: () => void ends.push("ended"),
    terminate: () => void ends.push("reset"),
  } as unknown as TcpSocket
  const made = new Outlet(socket)
  return {
    made,
    ends,
    makeRoom(bytes: number) {
      room += bytes
      made.onDrain()
    },
  }
}

test("what a client has left behind is given up with a caller that takes none of it for 30 s", () => {
  const { made, ends } = outlet(10)
  made.write(new Uint8Array(100))
  made.finish()
  jest.advanceTimersByTime(29_900)
  expect(ends).toEqual([])
  jest.advanceTimersByTime(200)
  expect([ends, made.queuedBytes]).toEqual([["reset"], 0])
})

test("a caller that takes a little now and then gets all of it, and a good end", () => {
  const { made, ends, makeRoom } = outlet(0)
  made.write(new Uint8Array(10))
  made.finish()
  for (let round = 0; round < 10; round++) {
    expect(ends).toEqual([])
    jest.advanceTimersByTime(20_000)
    makeRoom(1)
  }
  jest.advanceTimersByTime(120_000)
  expect(ends).toEqual(["ended"])
})

test("while there is a client its caller may take as long as it likes", () => {
  const { made, ends } = outlet(0)
  made.write(new Uint8Array(10))
  jest.advanceTimersByTime(600_000)
  expect(ends).toEqual([])
})
