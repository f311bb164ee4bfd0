import { afterAll, beforeAll, expect, jest, test } from "bun:test"
import { BudgetShare, InputBudget } from "./input-budget.ts"

beforeAll(() => void jest.useFakeTimers())
afterAll(() => void jest.useRealTimers())

const mebi = 1 << 20

function budget() {
  let holds = 0
  const hold = () => {
    holds++
    return () => void holds--
  }
  const all = new InputBudget({ hold })
  return { all, isHeld: () => holds > 0, holds: () => holds }
}

test("above 32 MiB nothing more is read, until half of that is left", () => {
  const { all, isHeld } = budget()
  const [one, other] = [new BudgetShare(all), new BudgetShare(all)]
  one.set(20 * mebi)
  other.set(12 * mebi)
  expect(isHeld()).toBe(false)
  other.set(12 * mebi + 1)
  expect(isHeld()).toBe(true)
  one.set(4 * mebi)
  expect(isHeld()).toBe(true)
  other.set(11 * mebi)
  expect(isHeld()).toBe(false)
})

test("a program that reads slowly is waited for; one that reads nothing may need what comes behind, so that it gets more", () => {
  const { all, isHeld, holds } = budget()
  const share = new BudgetShare(all)
  share.set(40 * mebi)
  for (let bytes = 40 * mebi - 1; bytes > 38 * mebi; bytes -= 100_000) {
    jest.advanceTimersByTime(200)
    share.set(bytes)
    expect(isHeld()).toBe(true)
  }
  jest.advanceTimersByTime(250)
  expect(isHeld()).toBe(false)
  share.set(64 * mebi)
  expect(isHeld()).toBe(false)
  share.set(70 * mebi)
  expect(holds()).toBe(1)
})

test("512 MiB are the end of it; who has read all that begins anew", () => {
  const { all, isHeld } = budget()
  const share = new BudgetShare(all)
  let bytes = 0
  for (let round = 0; round < 1_000 && (!isHeld() || bytes < 512 * mebi); round++) {
    if (isHeld()) jest.advanceTimersByTime(250)
    else share.set((bytes += 10 * mebi))
  }
  expect(bytes / mebi).toBeWithin(512, 523)
  jest.advanceTimersByTime(60_000)
  expect(isHeld()).toBe(true)
  share.set(0)
  expect([isHeld(), jest.getTimerCount()]).toEqual([false, 0])
  share.set(33 * mebi)
  expect(isHeld()).toBe(true)
  share.set(0)
})
