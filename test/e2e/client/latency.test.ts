import { expect, test } from "bun:test"
import { run } from "../../cluster/run.ts"
import { startLocalAgent } from "./local-agent.ts"

test("round trips to an agent are told to people and to programs", async () => {
  await using agent = await startLocalAgent()
  const diagnose = (...words: string[]) =>
    run([agent.binary, "diagnose", "latency", ...agent.options, ...words], { timeoutSeconds: 40 })
  const told = await diagnose("--progress", "off")
  expect(told.code).toBe(0)
  const lines = told.stdout.trim().split("\n")
  expect(lines).toHaveLength(101)
  expect(lines[0]).toMatch(/^ping 1: \d+\.\d\dms$/)
  expect(lines.at(-1)).toMatch(/^Latency statistics: min=\d+\.\d\dms, max=\d+\.\d\dms, avg=\d+\.\d\dms$/)
  const { stdout, stderr } = await diagnose("--json")
  expect(stderr).toBe("")
  expect(JSON.parse(stdout)).toMatchObject({ peer: expect.stringContaining("agent at unix:"), pings: 100 })
  for (const value of Object.values(JSON.parse(stdout))) expect(String(value)).not.toMatch(/\.\d{4}/)
}, 90_000)
