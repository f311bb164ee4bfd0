import { afterEach, expect, test } from "bun:test"
import { readdirSync, readlinkSync } from "node:fs"
import { errno } from "../../../core/linux/errno.ts"
import { syscall } from "../../../core/linux/syscall.ts"
import { fileIdentity } from "./file-identity.ts"
import { Pidfds } from "./pidfds.ts"

const children: Bun.Subprocess[] = []
const pidfds = new Pidfds()

afterEach(async () => {
  pidfds.clear()
  for (const child of children) child.kill("SIGKILL")
  await Promise.all(children.splice(0).map(({ exited }) => exited))
})

function sleeper(): Bun.Subprocess {
  const child = Bun.spawn(["sleep", "60"], { stdio: ["pipe", "ignore", "ignore"] })
  children.push(child)
  return child
}

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

test("a descriptor is the program's own, each time it is fetched", () => {
  const { pid } = sleeper()
  const copies = [pidfds.fetch(pid, 0), pidfds.fetch(pid, 0)]
  expect(copies.map((fd) => fileIdentity(fd))).toEqual(Array(2).fill(fileIdentity(`/proc/${pid}/fd/0`)))
  for (const fd of copies) syscall("close", fd)
  expect(pidfds.fetch(pid, 999)).toBe(-errno.EBADF)
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
