import { expect, test } from "bun:test"
import { BelievedAnswers, type Perishable } from "./believed.ts"

const kept = (maxAnswers = 2) => {
  let now = 5000
  const believed = new BelievedAnswers<Perishable & { ip: string }>(maxAnswers, () => now)
  const keep = (key: string, holdsMs: number) => believed.keep(key, { ip: key, until: believed.untilAfter(holdsMs) })
  return { believed, keep, pass: (milliseconds: number) => void (now += milliseconds) }
}

test.each([
  ["what holds 300 ms", 300, 300],
  ["what holds half a minute", 30_000, 1000],
  ["what holds for ever", Number.POSITIVE_INFINITY, 1000],
])("%s is believed that long, a second at most, and no longer", (_, holdsMs, believedMs) => {
  const { believed, keep, pass } = kept()
  keep("api", holdsMs)
  const answer = believed.get("api")!
  expect(answer.ip).toBe("api")
  expect(believed.left(answer)).toBe(believedMs)
  pass(believedMs - 1)
  expect(believed.get("api")).toBe(answer)
  pass(1)
  expect(believed.get("api")).toBeUndefined()
  expect(believed.left(answer)).toBe(0)
})

test("what holds no time is never believed, and does not push out what does", () => {
  const { believed, keep } = kept(1)
  keep("db", 500)
  keep("api", 0)
  expect(believed.get("api")).toBeUndefined()
  expect(believed.get("db")?.ip).toBe("db")
})

test("no more is kept than may be, and nothing after it is forgotten", () => {
  const { believed, keep } = kept(2)
  for (const key of ["a", "b", "c"]) keep(key, 500)
  expect(["a", "b", "c"].filter((key) => believed.get(key))).toEqual(["c"])
  believed.clear()
  expect(believed.get("c")).toBeUndefined()
})
