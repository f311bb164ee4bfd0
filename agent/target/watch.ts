import { AppError } from "../../core/errors.ts"
import { check, errno, isLinuxError } from "../../core/linux/errno.ts"
import { syscall } from "../../core/linux/syscall.ts"

/** How often the target is looked at. One look is one system call of less than a microsecond. */
const intervalMilliseconds = 200
const POLLIN = 1

/**
 * Calls `onGone` once when process `pid` has ended. It is watched by a pidfd, so that a new process with the same
 * number is not taken for it. Returns how to stop watching.
 * @throws AppError "target-gone" when it has ended already
 */
export function watchProcess(pid: number, onGone: () => void): () => void {
  const pidFd = openPidFd(pid)
  let watching = true
  const stop = () => {
    if (!watching) return
    watching = false
    clearInterval(timer)
    syscall("close", pidFd)
  }
  const timer = setInterval(() => {
    if (!hasEnded(pidFd)) return
    stop()
    onGone()
  }, intervalMilliseconds)
  return stop
}

function openPidFd(pid: number): number {
  try {
    return check(syscall("pidfd_open", pid, 0), "pidfd_open")
  } catch (thrown) {
    if (!isLinuxError(thrown, errno.ESRCH)) throw thrown
    throw new AppError("target-gone", `Process ${pid} does not exist`, {
      cause: thrown,
      next: "Check that the target is still running.",
    })
  }
}

/** A pidfd is readable once its process has ended. struct pollfd: fd i32, events i16, revents i16. */
function hasEnded(pidFd: number): boolean {
  const poll = Buffer.alloc(8)
  poll.writeInt32LE(pidFd, 0)
  poll.writeInt16LE(POLLIN, 4)
  const timeout = Buffer.alloc(16)
  return syscall("ppoll", poll, 1, timeout, null, 0) === 1
}
