import { expect, test } from "bun:test"
import { until } from "../../test/until.ts"
import { LostCopies } from "./lost-copies.ts"

function told(milliseconds: number) {
  const lines: string[] = []
  const lost = new LostCopies({ tell: (level, message) => void lines.push(`${level}: ${message}`) }, milliseconds)
  return { lines, lost }
}

test("the first is told at once, a thousand that follow in one line, and then nothing more", async () => {
  const { lines, lost } = told(50)
  for (let count = 0; count <= 1000; count++) lost.add("connection", "a reason")
  expect(lines).toEqual(["Warn: a mirrored connection was dropped: a reason"])
  await until(() => lines.length > 1)
  await Bun.sleep(100)
  expect(lines.slice(1)).toEqual(["Warn: 1000 more mirrored connections were dropped: a reason"])
  lost.add("connection", "a reason")
  expect(lines.slice(2)).toEqual(["Warn: a mirrored connection was dropped: a reason"])
  lost.close()
})

test("losses that do not end are told once in a while", async () => {
  const { lines, lost } = told(50)
  for (let count = 0; count < 20; count++) {
    lost.add("request", "a reason")
    await Bun.sleep(10)
  }
  lost.close()
  expect(lines[0]).toBe("Warn: a mirrored request was dropped: a reason")
  expect(lines.length).toBeGreaterThan(1)
  expect(lines.length).toBeLessThan(8)
  for (const line of lines.slice(1)) expect(line).toMatch(/^Warn: \d+ more mirrored requests were dropped: a reason$/)
})

test("each kind and each reason is told for itself, and nothing after the end", async () => {
  const { lines, lost } = told(20)
  for (let count = 0; count < 2; count++) {
    lost.add("connection", "one")
    lost.add("connection", "other")
    lost.add("requestsOfConnection", "one")
  }
  lost.close()
  await Bun.sleep(60)
  expect(lines).toEqual([
    "Warn: a mirrored connection was dropped: one",
    "Warn: a mirrored connection was dropped: other",
    "Warn: requests of a mirrored connection were dropped: one",
  ])
})
