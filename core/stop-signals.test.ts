import { expect, test } from "bun:test"
import { untilStopped } from "./stop-signals.ts"

test("whoever waits for the stop hears of it, also when it came before", async () => {
  const stopping = new AbortController()
  let isOver = false
  const waited = untilStopped(stopping.signal).then(() => (isOver = true))
  await new Promise(setImmediate)
  expect(isOver).toBe(false)
  stopping.abort()
  await waited
  await untilStopped(stopping.signal)
})
