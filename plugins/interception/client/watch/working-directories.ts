import { readdirSync, readFileSync } from "node:fs"
import { errno, LinuxError } from "../../../../core/linux/errno.ts"
import { statusLine, threadGroup } from "../kernel/process-status.ts"
import type { SharedState } from "./shared-state.ts"

/** More processes than this are looked through for ended ones. */
const tidyAbove = 256

/**
 * Which processes work in a remote directory. The kernel knows nothing of it: for the kernel they stay where they were.
 * A process seen for the first time works where its parent does; before a parent goes elsewhere its children are looked at.
 */
export class WorkingDirectories {
  readonly #shared: SharedState
  /** By process; null: known to work locally. */
  readonly #byProcess = new Map<number, string | null>()

  constructor(shared: SharedState) {
    this.#shared = shared
  }

  /** Remote working directory of a thread's process, undefined when it works locally. */
  of(tid: number): string | undefined {
    if (!this.#shared.remoteDirectory) return undefined
    return this.#ofProcess(threadGroup(tid)) ?? undefined
  }

  enter(tid: number, path: string): void {
    this.#shared.remoteDirectory = true
    if (this.#byProcess.size > tidyAbove) this.#tidy()
    this.#move(threadGroup(tid), path)
  }

  leave(tid: number): void {
    if (this.#shared.remoteDirectory) this.#move(threadGroup(tid), null)
  }

  #move(pid: number, to: string | null): void {
    this.#leaveChildren(pid, this.#ofProcess(pid))
    this.#byProcess.set(pid, to)
  }

  /** Children nobody has seen yet stay where their parent was. */
  #leaveChildren(pid: number, place: string | null): void {
    for (const child of childrenOf(pid)) {
      if (this.#byProcess.has(child)) continue
      this.#byProcess.set(child, place)
      this.#leaveChildren(child, place)
    }
  }

  #ofProcess(pid: number): string | null {
    const seen: number[] = []
    let found: string | null = null
    for (let at = pid; at > 1 && seen.length < tidyAbove; at = Number(statusLine(at, "PPid"))) {
      const known = this.#byProcess.get(at)
      if (known !== undefined) {
        found = known
        break
      }
      seen.push(at)
    }
    for (const member of seen) this.#byProcess.set(member, found)
    return found
  }

  #tidy(): void {
    for (const pid of this.#byProcess.keys()) {
      try {
        statusLine(pid, "PPid")
      } catch (thrown) {
        if (thrown instanceof LinuxError && thrown.errno === errno.ESRCH) this.#byProcess.delete(pid)
      }
    }
  }
}

/** Empty for a process that has ended. */
function childrenOf(pid: number): number[] {
  try {
    const lists = readdirSync(`/proc/${pid}/task`).map((tid) =>
      readFileSync(`/proc/${pid}/task/${tid}/children`, "latin1"),
    )
    return lists.join("").split(" ").filter(Boolean).map(Number)
  } catch {
    return []
  }
}
