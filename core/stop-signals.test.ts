import { expect, test } from "bun:test"
import { untilStopped } from "./stop-signals.ts"

test("whoever waits for the stop hears of it, also when it came before", async () => {
  const stopping = new AbortController()
  let isOver = false
  const waited = untilStopped(stopping.signal).then(() => (isOver = true))
  await new Promise(setImmediate)
  expect(isOver).toBe(false)
  stopping.abort()
  await waited
  await untilStopped(stopping.signal)
})

test("a second signal ends the process, but none does while signals are left to a program", async () => {
  const script = `
    const { createStopSignals } = await import("${import.meta.dir}/stop-signals.ts")
    const { stopOnSignals, leaveSignalsTo } = createStopSignals()
    stopOnSignals().addEventListener("abort", () => console.log("stop"))
    const program = Promise.withResolvers()
    leaveSignalsTo(program.promise)
    for (let count = 0; count < 3; count++) {
      process.kill(process.pid, "SIGINT")
      await Bun.sleep(20)
    }
    console.log("alive")
    program.resolve()
    await Bun.sleep(1)
    for (;;) {
      process.kill(process.pid, "SIGINT")
      await Bun.sleep(20)
    }`
  const child = Bun.spawn([process.execPath, "-e", script], { stdout: "pipe", stderr: "inherit" })
  expect(await new Response(child.stdout).text()).toBe("alive\nstop\n")
  expect(await child.exited).toBe(130)
})
