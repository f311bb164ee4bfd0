import { errno, LinuxError } from "../../../core/linux/errno.ts"
import { statusLine, threadGroup } from "./process-status.ts"
import type { SharedState } from "./shared-state.ts"

/** More processes than this are looked through for ended ones. */
const tidyAbove = 256

/**
 * Which processes work in a remote directory. The kernel knows nothing of it: for the kernel they stay where they were.
 * A process seen for the first time works where its parent does.
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
    this.#byProcess.set(threadGroup(tid), path)
  }

  leave(tid: number): void {
    if (this.#shared.remoteDirectory) this.#byProcess.set(threadGroup(tid), null)
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
