import { expect, test } from "bun:test"
import { matchesWildcard } from "./wildcard.ts"

test.each([
  ["*", "ANY", true],
  ["DB_*", "DB_HOST", true],
  ["DB_*", "MY_DB_HOST", false],
  ["*_KEY", "API_KEY", true],
  ["A?C", "ABC", true],
  ["A?C", "AC", false],
  ["a*", "ABC", false],
  ["A*B*C", "AxxBxxBxC", true],
  ["", "A", false],
  ["A.C", "ABC", false],
  ["deploy/app", "deploy/app", true],
  ["deploy/app", "deploy/app/container/c", false],
  ["deploy/app*", "deploy/app/container/c", true],
  ["deploy/app*", "deploy/app-2", true],
  ["*", "", true],
  ["", "", true],
  ["", "x", false],
  ["*/a?p", "pod/app", true],
  ["*/a?p", "pod/ap", false],
  ["a*b*c", "a1b2b3c", true],
  ["a*b*c", "a1b2b3", false],
  ["a.c", "abc", false],
])("pattern %p on %p: %p", (pattern, text, matches) => {
  expect(matchesWildcard(pattern, text)).toBe(matches)
})

test("a hostile pattern is decided at once", () => {
  expect(matchesWildcard(`${"*a".repeat(5000)}b`, "a".repeat(5000))).toBe(false)
})

test("a pattern of many stars costs no time", () => {
  const started = process.cpuUsage()
  expect(matchesWildcard(`${"a*".repeat(200)}b`, "a".repeat(5000))).toBe(false)
  const { user, system } = process.cpuUsage(started)
  expect((user + system) / 1000).toBeLessThan(500)
})
