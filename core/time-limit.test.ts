import { expect, test } from "bun:test"
import { join } from "node:path"
import { endsWithin } from "./time-limit.ts"

test("work that ends in its time is waited for, and no longer", async () => {
  expect(await endsWithin(Promise.resolve(), 60_000)).toBe(true)
  expect(await endsWithin(new Promise(() => {}), 5)).toBe(false)
})

test("what work is rejected with is passed on", async () => {
  await expect(endsWithin(Promise.reject(new Error("no")), 60_000)).rejects.toThrow("no")
})

test("a limit that was not reached does not keep the process", async () => {
  const file = JSON.stringify(join(import.meta.dir, "time-limit.ts"))
  const script = `import { endsWithin } from ${file}; await endsWithin(Promise.resolve(), 600_000)`
  const child = Bun.spawn([process.execPath, "-e", script], { stdout: "inherit", stderr: "inherit", timeout: 4_000 })
  await child.exited
  expect([child.exitCode, child.signalCode]).toEqual([0, null])
})
