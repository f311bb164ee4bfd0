import { expect, test } from "bun:test"
import { parseYaml } from "./yaml.ts"

test("many brackets are read, more than may be open at once are refused at once", () => {
  expect(parseYaml(`[${"[1], {a: 2}, ".repeat(2_000)}]`, "f.yaml")).toHaveLength(4_000)
  const started = process.cpuUsage()
  expect(() => parseYaml("[".repeat(100_000), "f.yaml")).toThrow("nests deeper")
  expect(() => parseYaml(`${"{a: ".repeat(600)}1${"}".repeat(600)}`, "f.yaml")).toThrow("nests deeper")
  const { user, system } = process.cpuUsage(started)
  expect((user + system) / 1000).toBeLessThan(1_000)
})
