import { afterAll, beforeAll, expect, jest, test } from "bun:test"
import type { AgentClient } from "../feature.ts"
import { InputBudget } from "./input-budget.ts"

beforeAll(() => void jest.useFakeTimers())
afterAll(() => void jest.useRealTimers())

const mebi = 1 << 20

function budget() {
  let held = 0
  const told: string[] = []
  const client = {
    holdInput() {
      held++
      return () => void held--
    },
    tell: (_level: string, text: string) => told.push(text),
  } as unknown as AgentClient
  const all = new InputBudget(client)
  /** A peer that has taken nothing since then, by the clock of `performance`. */
  const peer = (lastProgress: number) => {
    const waiting = {
      queuedBytes: 0,
      lastProgress,
      resets: 0,
      reset() {
        waiting.resets++
        wait(0)
      },
    }
    function wait(bytes: number) {
      const more = bytes - waiting.queuedBytes
      waiting.queuedBytes = bytes
      all.changed(more, waiting)
    }
    return { waiting, wait }
  }
  return { all, peer, told, isHeld: () => held > 0 }
}

test("above 16 MiB for slow peers the client is read no further, until half of that is left", () => {
  const { peer, isHeld } = budget()
  const [one, other] = [peer(performance.now()), peer(performance.now())]
  one.wait(10 * mebi)
  other.wait(6 * mebi)
  expect(isHeld()).toBe(false)
  other.wait(6 * mebi + 1)
  expect(isHeld()).toBe(true)
  one.wait(3 * mebi)
  expect(isHeld()).toBe(true)
  other.wait(4 * mebi)
  expect([isHeld(), jest.getTimerCount()]).toEqual([false, 0])
})

test("a peer that takes nothing while its client is held is given up, one that takes a little is not", () => {
  const { peer, isHeld, told } = budget()
  const stuck = peer(performance.now() - 20_000)
  const slow = peer(performance.now() - 1_000)
  stuck.wait(12 * mebi)
  slow.wait(5 * mebi)
  expect(isHeld()).toBe(true)
  jest.advanceTimersByTime(1_000)
  expect([stuck.waiting.resets, slow.waiting.resets, isHeld(), told.length]).toEqual([1, 0, false, 1])
})

test("nobody is given up while there is room, nor after the client has gone", () => {
  const { all, peer, isHeld } = budget()
  const stuck = peer(performance.now() - 20_000)
  stuck.wait(12 * mebi)
  jest.advanceTimersByTime(5_000)
  expect(stuck.waiting.resets).toBe(0)
  stuck.wait(20 * mebi)
  all.close()
  jest.advanceTimersByTime(5_000)
  expect([stuck.waiting.resets, isHeld()]).toEqual([0, false])
})
