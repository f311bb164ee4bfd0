import { expect, spyOn, test } from "bun:test"
import { lastWords, unheard } from "./last-words.ts"

/** Runs `work` by a clock that moves on by so many milliseconds with every look at it. */
async function byClock<T>(stepMs: number, work: () => Promise<T>): Promise<T> {
  let now = 0
  const clock = spyOn(performance, "now").mockImplementation(() => (now += stepMs))
  try {
    return await work()
  } finally {
    clock.mockRestore()
  }
}

test("nobody is waited for who takes nothing for 5 s", async () => {
  expect(await byClock(50, () => lastWords([unheard]))).toBe(false)
})

test("a machine that stood still for longer does not count as silence", async () => {
  let looks = 0
  const heardAfterAll = {
    passedBytes: 0,
    get isSpeaking() {
      return ++looks < 4
    },
  }
  expect(await byClock(60_000, () => lastWords([heardAfterAll]))).toBe(true)
})
