import { afterEach, describe, expect, test } from "bun:test"
import { readdirSync, readlinkSync } from "node:fs"
import { errno } from "../../../../core/linux/errno.ts"
import { syscall } from "../../../../core/linux/syscall.ts"
import { until } from "../../../../test/until.ts"
import { fileIdentity } from "./file-identity.ts"
import { Pidfds } from "./pidfds.ts"

const children: Bun.Subprocess[] = []

afterEach(async () => {
  for (const child of children) child.kill("SIGKILL")
  await Promise.all(children.splice(0).map(({ exited }) => exited))
})

function started(command: string[]): Bun.Subprocess {
  const child = Bun.spawn(command, { stdio: ["pipe", "ignore", "ignore"] })
  children.push(child)
  return child
}

const sleeper = () => started(["sleep", "60"])

function kept(): number {
  const links = readdirSync("/proc/self/fd").map((fd) => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`)
    } catch {
      return ""
    }
  })
  return links.filter((link) => link.includes("[pidfd]")).length
}

describe.each([
  ["pidfds of threads", new Pidfds()],
  ["pidfds of processes only", new Pidfds(false)],
])("%s", (_, pidfds) => {
  afterEach(() => pidfds.clear())

  test("a descriptor is the program's own, each time it is fetched", () => {
    const { pid } = sleeper()
    const copies = [pidfds.fetch(pid, 0), pidfds.fetch(pid, 0)]
    expect(copies.map((fd) => fileIdentity(fd))).toEqual(Array(2).fill(fileIdentity(`/proc/${pid}/fd/0`)))
    for (const fd of copies) syscall("close", fd)
    expect(pidfds.fetch(pid, 999)).toBe(-errno.EBADF)
  })

  test("a thread that leads no process has descriptors until it ends", async () => {
    const script = "import threading, time; threading.Thread(target=time.sleep, args=(0.5,)).start(); time.sleep(60)"
    const { pid } = started(["/usr/bin/python3", "-c", script])
    const threads = () => readdirSync(`/proc/${pid}/task`).map(Number)
    await until(() => threads().length === 2)
    const thread = threads().find((tid) => tid !== pid)!
    const copies = [pidfds.fetch(thread, 0), pidfds.fetch(thread, 0)]
    expect(copies.map((fd) => fileIdentity(fd))).toEqual(Array(2).fill(fileIdentity(`/proc/${pid}/fd/0`)))
    for (const fd of copies) syscall("close", fd)
    await until(() => threads().length === 1)
    expect(pidfds.fetch(thread, 0)).toBe(-errno.ESRCH)
  })

  test("a program that has ended has none any more", async () => {
    const child = sleeper()
    syscall("close", pidfds.fetch(child.pid, 0))
    child.kill("SIGKILL")
    await child.exited
    expect(pidfds.fetch(child.pid, 0)).toBe(-errno.ESRCH)
  })

  test("what is kept of many programs is bounded, and goes when asked", () => {
    const pids = Array.from({ length: 80 }, () => sleeper().pid)
    const before = kept()
    for (const pid of pids) syscall("close", pidfds.fetch(pid, 0))
    expect(kept() - before).toBeLessThanOrEqual(64)
    pidfds.clear()
    expect(kept()).toBe(before)
  })
})
