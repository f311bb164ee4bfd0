import type { Socket } from "bun"
import { AppError } from "../../core/errors.ts"
import { check, errno, isLinuxError } from "../../core/linux/errno.ts"
import { duplicate } from "../../core/linux/open.ts"
import { POLLIN, poll } from "../../core/linux/poll.ts"
import { syscall } from "../../core/linux/syscall.ts"

/** How often the target is looked at where the runtime does not tell of its end. */
const intervalMilliseconds = 20

/** One process, whatever becomes of its number: a new one with the same number is not taken for it. */
export class HeldProcess {
  readonly pid: number
  readonly #pidFd: number

  /** @throws AppError "target-gone" when it has ended already */
  constructor(pid: number) {
    this.pid = pid
    this.#pidFd = openPidFd(pid)
  }

  /**
   * What `open` finds by the process's number is its own: at the end it still runs, so nobody else can have had the number. `isStillIt`: it is
   * the one that was meant. @throws AppError "target-gone"
   */
  openOf<T extends { close(): void }>(isStillIt: () => boolean, open: () => T): T {
    if (!isStillIt()) throw gone(this.pid)
    const opened = open()
    if (!hasEnded(this.#pidFd)) return opened
    opened.close()
    throw gone(this.pid)
  }

  /**
   * Calls `onGone` once when the process has ended, in the moment it does: the network of a pod goes soon after its containers, and
   * nobody hears any more what is said too late. Returns how to stop watching.
   */
  watch(onGone: () => void): () => void {
    const pidFd = duplicate(this.#pidFd)
    let watching = true
    let timer: ReturnType<typeof setInterval> | undefined
    const look = () => {
      if (!watching || !hasEnded(pidFd)) return
      stop()
      onGone()
    }
    const unwatch = whenReadable(duplicate(this.#pidFd), () => {
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

  close(): void {
    syscall("close", this.#pidFd)
  }
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
    throw gone(pid, thrown)
  }
}

function gone(pid: number, cause?: unknown): AppError {
  return new AppError("target-gone", `Process ${pid} does not exist`, {
    cause,
    next: "Check that the target is still running.",
  })
}

/** A pidfd is readable once its process has ended. */
const hasEnded = (pidFd: number) => poll(pidFd, POLLIN) === 1
