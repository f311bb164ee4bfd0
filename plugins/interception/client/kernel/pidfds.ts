import { errno } from "../../../../core/linux/errno.ts"
import { cString, syscall } from "../../../../core/linux/syscall.ts"
import { threadGroup } from "./process-status.ts"

/** PIDFD_THREAD, Linux 6.9: a pidfd of a thread that leads no group. */
const PIDFD_THREAD = 0o200
/** Pidfds kept; the oldest go. */
const maxKept = 64
const AT_FDCWD = -100

/** `task` is a path that is there for as long as the thread's number means this process; absent: the pidfd tells by itself. */
interface Kept {
  pidfd: number
  task?: Buffer
}

/**
 * Fetches descriptors of threads. To open a pidfd costs several times what is done with it, so they are kept: a pidfd means one thread
 * or process for ever, and says ESRCH once that has ended, whoever has its number then.
 */
export class Pidfds {
  readonly #kept = new Map<number, Kept>()
  #ofThreads: boolean

  /** `ofThreads`: whether the kernel may have pidfds of threads; it is asked. */
  constructor(ofThreads = true) {
    this.#ofThreads = ofThreads
  }

  /** Our own copy of the thread's descriptor, or a negative errno. */
  fetch(tid: number, fd: number): number {
    const kept = this.#kept.get(tid)
    const copy = kept && isStillMeant(kept) ? syscall("pidfd_getfd", kept.pidfd, fd, 0) : -errno.ESRCH
    if (copy !== -errno.ESRCH) return copy
    this.#drop(tid)
    const opened = this.#open(tid)
    if (opened.pidfd < 0) return opened.pidfd
    this.#keep(tid, opened)
    return syscall("pidfd_getfd", opened.pidfd, fd, 0)
  }

  clear(): void {
    for (const tid of this.#kept.keys()) this.#drop(tid)
  }

  #open(tid: number): Kept {
    if (this.#ofThreads) {
      const pidfd = syscall("pidfd_open", tid, PIDFD_THREAD)
      if (pidfd !== -errno.EINVAL) return { pidfd }
      this.#ofThreads = false
    }
    // Only for a thread that leads its process.
    const pidfd = syscall("pidfd_open", tid, 0)
    return pidfd >= 0 ? { pidfd } : openProcess(tid)
  }

  #keep(tid: number, kept: Kept): void {
    this.#kept.set(tid, kept)
    for (const old of this.#kept.keys()) {
      if (this.#kept.size <= maxKept) break
      this.#drop(old)
    }
  }

  #drop(tid: number): void {
    const kept = this.#kept.get(tid)
    if (kept === undefined) return
    this.#kept.delete(tid)
    syscall("close", kept.pidfd)
  }
}

function openProcess(tid: number): Kept {
  let process: number
  try {
    process = threadGroup(tid)
  } catch {
    return { pidfd: -errno.ESRCH }
  }
  return { pidfd: syscall("pidfd_open", process, 0), task: cString(`/proc/${process}/task/${tid}`) }
}

/** The process of an ended thread may live on while its number means another's. */
function isStillMeant({ task }: Kept): boolean {
  return task === undefined || syscall("faccessat2", AT_FDCWD, task, 0, 0) === 0
}
