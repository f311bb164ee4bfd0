import { describe, expect, test } from "bun:test"
import { AtRest } from "./at-rest.ts"

/** Looks once a second at a process that uses so many milliseconds of each; the seconds in which it gives memory back. */
function givesBack(work: number[]): number[] {
  const rest = new AtRest(500)
  const seconds: number[] = []
  let spent = 500
  work.forEach((ms, second) => {
    spent += ms
    if (rest.look((second + 1) * 1000, spent)) seconds.push(second)
  })
  return seconds
}

const times = (count: number, ms: number): number[] => Array.from({ length: count }, () => ms)

describe("when memory is given back", () => {
  test.each([
    ["once, half a minute after much work", [...times(3, 900), ...times(40, 10)], [32]],
    ["also when garbage was collected meanwhile", [...times(3, 900), ...times(14, 10), 300, ...times(25, 10)], [32]],
    ["not while there is work", times(100, 100), []],
    [
      "not when work comes before the half minute is over",
      [...times(3, 900), ...times(29, 10), 900, ...times(29, 10)],
      [],
    ],
    ["not after little work", [900, ...times(60, 0)], []],
    ["again after more work", [...times(3, 900), ...times(60, 0), ...times(3, 900), ...times(40, 0)], [32, 95]],
    ["not twice within a minute", [...times(3, 900), ...times(30, 0), 1100, ...times(80, 0)], [32, 92]],
    ["never again without more work", [...times(3, 900), ...times(700, 0)], [32]],
  ])("%s", (_, work, expected) => {
    expect(givesBack(work)).toEqual(expected)
  })
})
