import { expect, spyOn, test } from "bun:test"
import { Patience, patienceMs } from "./patience.ts"

test("a lone connect waits where answers are quick, one of many does not", () => {
  const patience = new Patience()
  expect(patience.isWorthwhile(1)).toBe(true)
  const answered = patience.begin(1)
  expect(patience.isWorthwhile(2)).toBe(false)
  answered()
  expect(patience.isWorthwhile(2)).toBe(true)
})

test("nobody waits for a remote side that was slow, until it was quick again", async () => {
  const patience = new Patience()
  const slow = patience.begin(1)
  await Bun.sleep(2 * patienceMs)
  slow()
  expect(patience.isWorthwhile(2)).toBe(false)
  patience.begin(2)()
  expect(patience.isWorthwhile(3)).toBe(true)
})

test("a thread that is back sooner than it could have heard anything does not wait, others do", () => {
  let clock = 0
  const now = spyOn(performance, "now").mockImplementation(() => clock)
  try {
    const patience = new Patience()
    const answered = patience.begin(1)
    clock = patienceMs
    answered()
    clock += patienceMs / 2
    expect([patience.isWorthwhile(1), patience.isWorthwhile(2)]).toEqual([false, true])
    clock += 0.1
    expect(patience.isWorthwhile(1)).toBe(true)
    const slow = patience.begin(1)
    clock += patienceMs + 0.1
    slow()
    clock += 1000
    expect([patience.isWorthwhile(1), patience.isWorthwhile(2)]).toEqual([false, false])
  } finally {
    now.mockRestore()
  }
})
