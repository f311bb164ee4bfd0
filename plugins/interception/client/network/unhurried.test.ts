import { afterEach, beforeEach, expect, jest, test } from "bun:test"
import { Unhurried } from "./unhurried.ts"

beforeEach(() => void jest.useFakeTimers())
afterEach(() => void jest.useRealTimers())

test("what nobody waits for is done in order when it is called for, once", () => {
  const done: number[] = []
  const unhurried = new Unhurried()
  for (const each of [1, 2]) unhurried.add(() => done.push(each))
  expect(done).toEqual([])
  unhurried.do()
  unhurried.do()
  jest.advanceTimersByTime(10)
  expect(done).toEqual([1, 2])
})

test("it is done a moment later when nobody calls for it, and at once when there is much of it", () => {
  let done = 0
  const unhurried = new Unhurried()
  unhurried.add(() => done++)
  jest.advanceTimersByTime(1)
  expect(done).toBe(1)
  for (let count = 0; count < 64; count++) unhurried.add(() => done++)
  expect(done).toBe(65)
})
