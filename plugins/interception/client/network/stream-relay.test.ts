import { expect, test } from "bun:test"
import type { RemoteConnection } from "../../../../core/client/engine.ts"
import { StreamRelay } from "./stream-relay.ts"
import type { Unhurried } from "./unhurried.ts"

/** A relay between a program that takes as many bytes as there is room for, and a remote side that notes what it is told. */
function open({ program = true, isGone = false } = {}) {
  const state = {
    room: Number.POSITIVE_INFINITY,
    remoteTakes: true,
    got: [] as Uint8Array[],
    seen: [] as string[],
    closed: 0,
  }
  const note = (what: string) => () => void state.seen.push(what)
  const socket = {
    data: undefined,
    write(bytes: Uint8Array) {
      const taken = Math.min(state.room, bytes.length)
      state.room -= taken
      state.got.push(bytes.slice(0, taken))
      return taken
    },
    pause: note("program waits"),
    resume: note("program goes on"),
    shutdown: note("program hears the end"),
    end: note("program is left"),
    terminate: note("program is cut"),
  } as unknown as Bun.Socket<StreamRelay | undefined>
  let handlers: Parameters<RemoteConnection["attach"]>[0]
  const remote: RemoteConnection = {
    write(bytes) {
      state.seen.push(`remote gets ${Buffer.from(bytes)}`)
      return state.remoteTakes
    },
    end: note("remote hears the end"),
    close: note("remote is closed"),
    pause: note("remote waits"),
    resume: note("remote goes on"),
    attach: (given) => void (handlers = given),
  }
  const unhurried = { add: (close: () => void) => close() } as Unhurried
  const relay = new StreamRelay(socket, program ? { isGone: () => isGone, unhurried } : undefined)
  const join = () => relay.join(remote, () => state.closed++)
  return { state, relay, join, from: () => handlers, socket }
}

const got = (pieces: Uint8Array[]) => Buffer.concat(pieces).toString()

test("what a slow program has no room for waits, comes in order and whole, and stops the remote side", () => {
  const { state, relay, join, from } = open()
  join()
  state.room = 5
  from().onData(Buffer.from("0123456789"))
  from().onData(Buffer.from("abcdef"))
  expect(got(state.got)).toBe("01234")
  expect(state.seen).toEqual(["remote waits"])
  for (const room of [3, 0, 1, 4]) {
    state.room = room
    relay.drained()
  }
  expect(got(state.got)).toBe("0123456789abc")
  from().onEnd()
  expect(state.seen).toEqual(["remote waits"])
  state.room = 100
  relay.drained()
  expect(got(state.got)).toBe("0123456789abcdef")
  expect(state.seen).toEqual(["remote waits", "remote goes on", "program hears the end"])
})

test("a program that is quicker than the connection is heard from its first byte, and its end", () => {
  const { state, relay, join } = open()
  relay.fromLocal(Buffer.from("early"))
  relay.localEnded()
  expect(state.seen).toEqual(["program waits"])
  join()
  expect(state.seen).toEqual(["program waits", "program goes on", "remote gets early", "remote hears the end"])
  expect(relay.passedBytes).toBe(5)
})

test("a remote side that takes no more stops the program until it does", () => {
  const { state, relay, join, from } = open()
  join()
  state.remoteTakes = false
  relay.fromLocal(Buffer.from("a"))
  from().onDrain()
  expect(state.seen).toEqual(["remote gets a", "program waits", "program goes on"])
})

test.each<[string, (one: ReturnType<typeof open>) => void, string]>([
  ["by itself", ({ from }) => from().onClose(), "program is left"],
  ["because the agent says so", ({ from }) => from().onClose(true), "program is cut"],
  [
    "after both ends were said",
    ({ relay, from }) => {
      relay.localEnded()
      from().onEnd()
      from().onClose(true)
    },
    "program is left",
  ],
])("a program whose connection is over %s is told so", (_, act, expected) => {
  const one = open({ program: false })
  one.join()
  act(one)
  expect(one.state.seen.at(-1)).toBe(expected)
})

test("a connection whose program is gone is closed in one message, unless something may still be on its way", () => {
  const ended = (act: (relay: StreamRelay, say: () => void) => void, isGone = true) => {
    const { state, relay, join, from } = open({ isGone })
    join()
    act(relay, () => from().onData(Buffer.from("answer")))
    relay.localEnded()
    return state.seen.at(-1)
  }
  const [little, much] = [new Uint8Array(16 * 1024), new Uint8Array(16 * 1024 + 1)]
  expect(ended(() => {})).toBe("remote is closed")
  expect(ended(() => {}, false)).toBe("remote hears the end")
  expect(ended((relay) => relay.fromLocal(little))).toBe("remote hears the end")
  for (const [bytes, last] of [
    [little, "remote is closed"],
    [much, "remote hears the end"],
  ] as const)
    expect(
      ended((relay, say) => {
        relay.fromLocal(bytes)
        say()
      }),
    ).toBe(last)
})

test("the end of the program's socket is told once, and whatever comes then is dropped", () => {
  const { state, relay, join, from } = open()
  join()
  relay.localClosed()
  relay.localClosed()
  from().onData(Buffer.from("late"))
  from().onDrain()
  from().onEnd()
  from().onClose()
  expect(state).toMatchObject({ closed: 1, got: [], seen: ["remote is closed"] })
})

test("a program that is gone before its connection stands leaves none behind", () => {
  const { state, relay, join } = open()
  relay.localClosed()
  expect(state.closed).toBe(0)
  join()
  expect(state).toMatchObject({ closed: 1, seen: ["remote is closed"] })
})
