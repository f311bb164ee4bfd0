import { describe, expect, test } from "bun:test"
import { type Job, runJobs } from "./schedule.ts"

/** Jobs that note when they begin and end, and end when they are told; `running` is what runs now. */
function stage() {
  const running = new Set<string>()
  const begun: string[] = []
  const ends = new Map<string, () => void>()
  const job = (name: string, more: Partial<Job> = {}): Job => ({
    ...more,
    run: () =>
      new Promise<void>((resolve) => {
        begun.push(name)
        running.add(name)
        ends.set(name, () => {
          running.delete(name)
          resolve()
        })
      }),
  })
  const end = async (name: string) => {
    ends.get(name)!()
    await Bun.sleep(0)
  }
  return { job, end, begun, running: () => [...running].sort() }
}

describe("jobs", () => {
  test("run as many at once as may be, in their order", async () => {
    const { job, end, running, begun } = stage()
    const all = runJobs(
      ["a", "b", "c"].map((name) => job(name)),
      2,
    )
    expect(running()).toEqual(["a", "b"])
    await end("b")
    expect(running()).toEqual(["a", "c"])
    for (const name of ["a", "c"]) await end(name)
    await all
    expect(begun).toEqual(["a", "b", "c"])
  })

  test("that take the same wait for each other, and are overtaken meanwhile", async () => {
    const { job, end, running } = stage()
    const all = runJobs([job("a", { takes: "it" }), job("b", { takes: "it" }), job("c"), job("d")], 2)
    expect(running()).toEqual(["a", "c"])
    await end("c")
    expect(running()).toEqual(["a", "d"])
    await end("a")
    expect(running()).toEqual(["b", "d"])
    for (const name of ["b", "d"]) await end(name)
    await all
  })

  test("that run alone come last, one by one", async () => {
    const { job, end, running } = stage()
    const all = runJobs([job("a", { alone: true }), job("b", { alone: true }), job("c"), job("d"), job("e")], 2)
    expect(running()).toEqual(["c", "d"])
    await end("c")
    await end("e")
    expect(running()).toEqual(["d"])
    await end("d")
    expect(running()).toEqual(["a"])
    await end("a")
    expect(running()).toEqual(["b"])
    await end("b")
    await all
  })

  test("that come after another wait until it is over", async () => {
    const { job, end, running } = stage()
    const first = job("first")
    const all = runJobs([job("a", { after: first }), first, job("b", { after: first })], 3)
    expect(running()).toEqual(["first"])
    await end("first")
    expect(running()).toEqual(["a", "b"])
    for (const name of ["a", "b"]) await end(name)
    await all
  })

  test("a fault of one is everybody's", async () => {
    const { job } = stage()
    const bad: Job = { run: () => Promise.reject(new Error("odd")) }
    await expect(runJobs([job("a"), bad], 2)).rejects.toThrow("odd")
  })
})
