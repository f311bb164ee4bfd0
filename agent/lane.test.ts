import { expect, test } from "bun:test"
import { silentLogger } from "../core/log.ts"
import type { AgentClient } from "./feature.ts"
import { Lane } from "./lane.ts"

/** A client, and what was done to it; a request is served when `answer` says so. */
function lane(maxWaiting = 3) {
  const gone = new AbortController()
  const room = Promise.withResolvers<void>()
  const begun: string[] = []
  const answers = new Map<string, PromiseWithResolvers<boolean | undefined>>()
  const ends: string[] = []
  let held = 0
  const client = {
    signal: gone.signal,
    log: silentLogger,
    whenWritable: () => room.promise,
    end: (why: string) => ends.push(why),
    holdInput() {
      held++
      return () => void held--
    },
  } as unknown as AgentClient
  const requests = new Lane<string>(client, maxWaiting, (request) => {
    begun.push(request)
    if (request === "at once") return undefined
    const answer = Promise.withResolvers<boolean | undefined>()
    answers.set(request, answer)
    return answer.promise
  })
  return {
    push: (...texts: string[]) => {
      for (const text of texts) requests.push(text)
    },
    async answer(request: string, hasRoom: boolean | undefined = true) {
      answers.get(request)!.resolve(hasRoom)
      await new Promise(setImmediate)
    },
    async fail(request: string) {
      answers.get(request)!.reject(new Error("no such thing"))
      await new Promise(setImmediate)
    },
    begun,
    ends,
    isHeld: () => held > 0,
    leave: () => gone.abort(),
    makeRoom: room.resolve,
  }
}

test("requests are served one after the other, in order; those that need no waiting at once", async () => {
  const { push, answer, begun, ends } = lane()
  push("at once", "at once", "a", "b", "c")
  expect(begun).toEqual(["at once", "at once", "a"])
  await answer("a")
  expect(begun).toEqual(["at once", "at once", "a", "b"])
  await answer("b")
  await answer("c")
  push("at once")
  expect(begun).toEqual(["at once", "at once", "a", "b", "c", "at once"])
  expect(ends).toEqual([])
})

test("a client is read no further while as many requests wait as may, and again when they are under way", async () => {
  const { push, answer, isHeld } = lane(3)
  push("a", "b", "c")
  expect(isHeld()).toBe(false)
  push("d")
  expect(isHeld()).toBe(true)
  for (const request of ["a", "b", "c"]) {
    await answer(request)
    expect(isHeld()).toBe(true)
  }
  await answer("d")
  expect(isHeld()).toBe(false)
})

test("a client that does not read its answers is served no further until it does", async () => {
  const { push, answer, begun, makeRoom } = lane()
  push("a", "b")
  await answer("a", false)
  expect(begun).toEqual(["a"])
  makeRoom()
  await new Promise(setImmediate)
  expect(begun).toEqual(["a", "b"])
})

test("a request that fails ends its client, and what waits behind it is not served", async () => {
  const { push, fail, begun, ends, isHeld } = lane(1)
  push("a", "b")
  expect(isHeld()).toBe(true)
  await fail("a")
  expect([ends, begun, isHeld()]).toEqual([["no such thing"], ["a"], false])
})

test("nothing is served for a client that has left", async () => {
  const { push, answer, begun, leave } = lane()
  push("a", "b")
  leave()
  await answer("a")
  push("c")
  expect(begun).toEqual(["a"])
})
