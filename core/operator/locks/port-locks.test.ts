import { expect, test } from "bun:test"
import { LocalPortLocks } from "./local-port-locks.ts"
import type { OnConcurrentSteal, PortLock } from "./port-locks.ts"

const lock = (sessionId: string, more: Partial<PortLock> = {}): PortLock => ({
  sessionId,
  targetKey: "shop/deployment/web",
  port: 80,
  mode: "steal",
  ...more,
})

function locks() {
  const evicted: string[] = []
  return { evicted, locks: new LocalPortLocks(async (id) => void evicted.push(id)) }
}

test.each([
  ["both without a filter", {}, {}, false],
  ["an unfiltered one after a filtered one", { filter: "header a" }, {}, false],
  ["a filtered one after an unfiltered one", {}, { filter: "header a" }, false],
  ["both with a filter", { filter: "header a" }, { filter: "header b" }, true],
  ["different ports", {}, { port: 81 }, true],
  ["different targets", {}, { targetKey: "shop/deployment/api" }, true],
  ["mirroring beside stealing", {}, { mode: "mirror" as const }, true],
])("two sessions, %s", async (_what, first, second, granted) => {
  const { locks: held } = locks()
  await held.acquire(lock("A", first), "abort")
  expect((await held.acquire(lock("B", second), "abort")).granted).toBe(granted)
})

test.each<[OnConcurrentSteal, boolean, string[]]>([
  ["abort", false, []],
  ["continue", true, []],
  ["override", true, ["A"]],
])("a clash with %s", async (how, granted, evicted) => {
  const { locks: held, evicted: gone } = locks()
  await held.acquire(lock("A"), "abort")
  expect((await held.acquire(lock("B"), how)).granted).toBe(granted)
  expect(gone).toEqual(evicted)
})

test("a session never clashes with itself, and what it releases is free", async () => {
  const { locks: held } = locks()
  await held.acquire(lock("A"), "abort")
  expect((await held.acquire(lock("A"), "abort")).granted).toBe(true)
  expect(held.list()).toHaveLength(1)
  await held.release(lock("A"))
  expect((await held.acquire(lock("B"), "abort")).granted).toBe(true)
  await held.releaseAll("B")
  expect(held.list()).toEqual([])
})
