import { expect, test } from "bun:test"
import { HeldProcess } from "./watch.ts"

const watchProcess = (pid: number, onGone: () => void) => new HeldProcess(pid).watch(onGone)
const sleeper = () => Bun.spawn(["sleep", "600"], { stdio: ["ignore", "ignore", "ignore"] })

test("the end of a process is told in that moment, not at the next look", async () => {
  const delays: number[] = []
  for (let round = 0; round < 10; round++) {
    const child = sleeper()
    const gone = new Promise<void>((resolve) => watchProcess(child.pid, resolve))
    await Bun.sleep(7 * round)
    const killedAt = performance.now()
    child.kill("SIGKILL")
    await gone
    delays.push(performance.now() - killedAt)
  }
  expect(delays.sort((a, b) => a - b)[5]!).toBeLessThan(40)
})

test("it is told once, and not after watching was stopped", async () => {
  const [watched, forgotten] = [sleeper(), sleeper()]
  let told = 0
  watchProcess(watched.pid, () => told++)
  const stop = watchProcess(forgotten.pid, () => (told += 10))
  await Bun.sleep(20)
  stop()
  stop()
  watched.kill("SIGKILL")
  forgotten.kill("SIGKILL")
  await Promise.all([watched.exited, forgotten.exited])
  await Bun.sleep(100)
  expect(told).toBe(1)
})

test("a process that has ended before cannot be watched", async () => {
  const child = sleeper()
  child.kill("SIGKILL")
  await child.exited
  expect(() => watchProcess(child.pid, () => {})).toThrow("does not exist")
})

test("what was opened by the number of a process that ended meanwhile, or is another one, is not used", async () => {
  const child = sleeper()
  const held = new HeldProcess(child.pid)
  const said: string[] = []
  const open = (name: string) => ({ name, close: () => void said.push(`${name} closed`) })
  expect(
    held.openOf(
      () => true,
      () => open("its own"),
    ).name,
  ).toBe("its own")
  expect(() =>
    held.openOf(
      () => false,
      () => open("another's"),
    ),
  ).toThrow("does not exist")
  child.kill("SIGKILL")
  await child.exited
  expect(() =>
    held.openOf(
      () => true,
      () => open("too late"),
    ),
  ).toThrow("does not exist")
  expect(said).toEqual(["too late closed"])
  held.close()
})
