import type { Socket } from "bun"
import { AppError } from "../../core/errors.ts"
import { check, errno, isLinuxError } from "../../core/linux/errno.ts"
import { syscall } from "../../core/linux/syscall.ts"

/** How often the target is looked at where the runtime does not tell of its end. */
const intervalMilliseconds = 20
const POLLIN = 1

/**
 * Calls `onGone` once when process `pid` has ended, in the moment it does: the network of a pod goes soon after its containers, and
 * nobody hears any more what is said too late. It is watched by a pidfd, so that a new process with the same number is not taken
 * for it. Returns how to stop watching.
 * @throws AppError "target-gone" when it has ended already
 */
export function watchProcess(pid: number, onGone: () => void): () => void {
  const pidFd = openPidFd(pid)
  let watching = true
  let timer: ReturnType<typeof setInterval> | undefined
  const look = () => {
    if (!watching || !hasEnded(pidFd)) return
    stop()
    onGone()
  }
  const unwatch = whenReadable(openPidFd(pid), () => {
    look()
    if (watching) timer = setInterval(look, intervalMilliseconds)
  })
  const stop = () => {
    if (!watching) return
    watching = false
    clearInterval(timer)
    unwatch()
    syscall("close", pidFd)
  }
  return stop
}

/**
 * The runtime takes the descriptor for a socket: it waits until that can be read, fails to read it, and closes it. Calls `then`
 * when it does. Returns how to stop waiting.
 */
function whenReadable(pidFd: number, then: () => void): () => void {
  let socket: Socket<undefined> | undefined
  const adopting = Bun.connect<undefined>({
    ...({ fd: pidFd } as unknown as { hostname: string; port: number }),
    data: undefined,
    socket: {
      open(opened) {
        socket = opened
      },
      data() {},
      close: then,
      error() {},
    },
  })
  adopting.catch(then)
  return () => socket?.terminate()
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
