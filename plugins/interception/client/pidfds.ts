import { errno } from "../../../core/linux/errno.ts"
import { syscall } from "../../../core/linux/syscall.ts"
import { threadGroup } from "./process-status.ts"

/** PIDFD_THREAD, Linux 6.9: a pidfd of a thread that leads no group. */
const PIDFD_THREAD = 0o200
/** Pidfds kept; the oldest go. */
const maxKept = 64

/**
 * Fetches descriptors of threads. To open a pidfd costs several times what is done with it, so those of threads are kept: such a
 * pidfd means one thread for ever, and says ESRCH once that has ended, whoever has its number then.
 */
export class Pidfds {
  readonly #kept = new Map<number, number>()
  #ofThreads = true

  /** Our own copy of the thread's descriptor, or a negative errno. */
  fetch(tid: number, fd: number): number {
    const known = this.#kept.get(tid)
    const copy = known === undefined ? -errno.ESRCH : syscall("pidfd_getfd", known, fd, 0)
    if (copy !== -errno.ESRCH) return copy
    this.#drop(tid)
    if (this.#ofThreads) {
      const pidfd = syscall("pidfd_open", tid, PIDFD_THREAD)
      if (pidfd >= 0) this.#keep(tid, pidfd)
      if (pidfd !== -errno.EINVAL) return pidfd < 0 ? pidfd : syscall("pidfd_getfd", pidfd, fd, 0)
      this.#ofThreads = false
    }
    return fetchFromProcess(tid, fd)
  }

  clear(): void {
    for (const tid of this.#kept.keys()) this.#drop(tid)
  }

  #keep(tid: number, pidfd: number): void {
    this.#kept.set(tid, pidfd)
    for (const old of this.#kept.keys()) {
      if (this.#kept.size <= maxKept) break
      this.#drop(old)
    }
  }

  #drop(tid: number): void {
    const pidfd = this.#kept.get(tid)
    if (pidfd === undefined) return
    this.#kept.delete(tid)
    syscall("close", pidfd)
  }
}

/** Where the kernel knows no pidfds of threads. */
function fetchFromProcess(tid: number, fd: number): number {
  let process: number
  try {
    process = threadGroup(tid)
  } catch {
    return -errno.ESRCH
  }
  const pidfd = syscall("pidfd_open", process, 0)
  if (pidfd < 0) return pidfd
  const copy = syscall("pidfd_getfd", pidfd, fd, 0)
  syscall("close", pidfd)
  return copy
}
