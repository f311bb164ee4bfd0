import { expect, test } from "bun:test"
import { parseToml } from "./toml.ts"

test.each([
  ["a text without quotes", "target = deployment/web", "f.toml:1: Strings must be quoted"],
  ["the last of several lines", 'target = "pod/a"\n\n[agent]\nttl = = 2\n', "f.toml:4: Expected a value"],
  ["a key that stands twice", "a = 1\nb = 2\na = 3\nc = 4\n", "f.toml:3: "],
  ["a list that is never closed, where it begins", 'a = 1\nb = [\n  "c",\n  "d"\n', "f.toml:2: "],
])("names the line of %s", (_, text, message) => {
  expect(() => parseToml(text, "f.toml")).toThrow(message)
})

test.each([
  ["many lines", `${"# comment\n".repeat(50_000)}a = = 1`],
  ["long lines", `${`# ${"long ".repeat(1_000)}\n`.repeat(200)}a = = 1`],
])("a file of %s is refused without looking for the one", (_, text) => {
  const started = performance.now()
  expect(() => parseToml(text, "f.toml")).toThrow("Cannot read f.toml: Expected")
  expect(performance.now() - started).toBeLessThan(1_000)
})
