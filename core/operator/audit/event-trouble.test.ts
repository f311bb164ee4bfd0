import { expect, test } from "bun:test"
import { type Logger, silentLogger } from "../../log.ts"
import { EventTrouble } from "./event-trouble.ts"

/** What was warned of. */
function listening() {
  const warnings: object[] = []
  const log: Logger = { ...silentLogger, warn: (message, fields) => void warnings.push({ message, ...fields }) }
  return { log, warnings }
}

test("a thousand Events that are not written are one line", async () => {
  const { log, warnings } = listening()
  const trouble = new EventTrouble(log, 20)
  for (let i = 0; i < 900; i++) trouble.omitted()
  for (let i = 0; i < 100; i++) trouble.failed(new Error(`reason ${i}`))
  for (let i = 0; i < 200 && warnings.length === 0; i++) await Bun.sleep(10)
  const message = "Kubernetes Events were not written"
  expect(warnings).toEqual([{ message, omitted: 900, failed: 100, lastError: "reason 99" }])
  trouble.omitted()
  for (let i = 0; i < 200 && warnings.length === 1; i++) await Bun.sleep(10)
  expect(warnings[1]).toEqual({ message, omitted: 1, failed: 0, lastError: undefined })
})
