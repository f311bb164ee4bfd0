import { readdirSync, readFileSync } from "node:fs"
import { check } from "../../../../core/linux/errno.ts"
import { syscall } from "../../../../core/linux/syscall.ts"

const PR_SET_CHILD_SUBREAPER = 36
const P_PID = 1
const WNOHANG = 1
const WEXITED = 4
/** How often ended processes without a parent of their own are taken off the list. */
const reapMs = 5000
/** Between asking the rest of a program to end and ending it. */
const graceMs = 2000
const pollMs = 20
/** A process whose parent ends while the tree is walked down may be missed; not by so many walks, one after the other. */
const surelyEmptyWalks = 3

let running = 0

/**
 * Processes a program leaves behind. They become children of this process, which keeps them below it (some systems let a
 * process look into descendants only) and lets them be found: they have one filter more than we have.
 */
export class Orphans {
  readonly #reaper = setInterval(() => this.#reap(), reapMs)
  readonly #program: number

  /** `program`: the process that is waited for by others. */
  constructor(program: number) {
    this.#program = program
    this.#reaper.unref()
    running++
    check(syscall("prctl", PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0), "prctl")
  }

  /**
   * Ends what is left of the program; resolves when `gone` does or when nothing is found any more. With a second program
   * in this process nobody can tell whose processes they are; they are left alone then.
   */
  async end(gone: Promise<void>): Promise<void> {
    clearInterval(this.#reaper)
    running--
    if (running > 0) return
    let isGone = false
    void gone.then(() => {
      isGone = true
    })
    const start = Date.now()
    const asked = new Set<number>()
    for (let emptyWalks = 0; !isGone && emptyWalks < surelyEmptyWalks; ) {
      const force = Date.now() - start > graceMs
      const left = filteredDescendants()
      for (const pid of left) {
        if (!force && asked.has(pid)) continue
        asked.add(pid)
        syscall("kill", pid, force ? 9 : 15)
      }
      this.#reap()
      emptyWalks = left.length === 0 ? emptyWalks + 1 : 0
      await Promise.race([gone, Bun.sleep(pollMs)])
    }
    // A process leaves the filter a moment before its parent can take it off the list.
    const limit = Date.now() + graceMs
    while (this.#reap() > 0 && Date.now() < limit) await Bun.sleep(pollMs)
  }

  /** Returns how many are still there. */
  #reap(): number {
    const own = filters(process.pid)
    const mine = () => children(process.pid).filter((pid) => pid !== this.#program && filters(pid) > own)
    for (const pid of mine()) syscall("waitid", P_PID, pid, 0, WEXITED | WNOHANG, 0)
    return mine().length
  }
}

/** Living processes below this one that stand under one of our filters. */
export function filteredDescendants(): number[] {
  const own = filters(process.pid)
  const found: number[] = []
  const queue = children(process.pid)
  for (const pid of queue) {
    queue.push(...children(pid))
    if (filters(pid) > own && !isZombie(pid)) found.push(pid)
  }
  return found
}

function children(pid: number): number[] {
  try {
    return readdirSync(`/proc/${pid}/task`).flatMap((tid) =>
      readFileSync(`/proc/${pid}/task/${tid}/children`, "utf8")
        .split(" ")
        .filter((text) => text !== "")
        .map(Number),
    )
  } catch {
    return []
  }
}

function filters(pid: number): number {
  return Number(/^Seccomp_filters:\s*(\d+)/m.exec(status(pid))?.[1] ?? 0)
}

function isZombie(pid: number): boolean {
  return /^State:\s*Z/m.test(status(pid))
}

function status(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/status`, "utf8")
  } catch {
    return ""
  }
}
