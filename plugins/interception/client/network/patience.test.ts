import { expect, test } from "bun:test"
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
