import { errno, LinuxError } from "../../../../core/linux/errno.ts"
import { getSocketOption } from "../../../../core/linux/socket.ts"
import { type Answer, type Call, failure } from "../kernel/call.ts"
import { isWaiting } from "../kernel/notification.ts"
import { SOL_SOCKET } from "../kernel/rules.ts"
import { ERESTARTSYS, hasSignal } from "../kernel/signals.ts"
import type { Readiness } from "../watch/readiness.ts"

const SO_RCVTIMEO = 20
const SO_SNDTIMEO = 21
/** How often a waiting call is looked after. */
const tickMs = 100

/** Marks a wait that ended because nobody waits any more, or because a signal came. */
class Abandoned extends Error {}

/**
 * Calls that may wait long. The kernel lets only deadly signals through to a thread whose call waits for an answer, so this
 * looks after the others, and after threads that are gone.
 */
export class Waits {
  readonly #listener: number
  readonly #readiness: Readiness

  constructor(listener: number, readiness: Readiness) {
    this.#listener = listener
    this.#readiness = readiness
  }

  /**
   * Runs `work` until it has an answer, the caller is gone, or a signal wants to be handled. In the latter cases `work` goes
   * on unheard: what it has obtained it passes through `given`, which then undoes it and throws. From then on signals wait for the answer:
   * what a call has done is not lost by them. What has to be done before the program goes on is told to `whenAbandoned`; it hears whether
   * the caller is gone.
   */
  async interruptible(
    call: Call,
    work: (
      given: <T>(value: T, undo: (value: T) => void) => T,
      abandoned: Promise<never>,
      whenAbandoned: (act: (isGone: boolean) => void) => void,
    ) => Promise<Answer>,
  ): Promise<Answer> {
    const stop = Promise.withResolvers<never>()
    stop.promise.catch(() => {})
    let over = false
    let hasSome = false
    let act = (_isGone: boolean) => {}
    const ticker = setInterval(() => {
      const isGone = !this.#isWaiting(call)
      if (over || (!isGone && (hasSome || !hasSignal(call.tid)))) return
      over = true
      act(isGone)
      stop.reject(new Abandoned())
    }, tickMs)
    const given = <T>(value: T, undo: (value: T) => void): T => {
      hasSome = true
      if (!over) return value
      undo(value)
      throw new Abandoned()
    }
    const running = work(given, stop.promise, (given) => {
      act = given
    })
    running.catch(() => {})
    try {
      return await Promise.race([running, stop.promise])
    } catch (thrown) {
      if (thrown instanceof Abandoned) return failure(ERESTARTSYS)
      throw thrown
    } finally {
      clearInterval(ticker)
    }
  }

  /** Resolves when `fd` has one of the events. @throws LinuxError EAGAIN after the socket's own time limit */
  async until(fd: number, events: number, abandoned: Promise<never>): Promise<void> {
    const ready = Promise.withResolvers<void>()
    const waiting = this.#readiness.wait(fd, events, () => ready.resolve())
    const limit = timeLimitMs(fd, SO_RCVTIMEO)
    const timer =
      limit === 0 ? undefined : setTimeout(() => ready.reject(new LinuxError(errno.EAGAIN, "wait for a socket")), limit)
    try {
      await Promise.race([ready.promise, abandoned])
    } finally {
      clearTimeout(timer)
      waiting.cancel()
    }
  }

  #isWaiting(call: Call): boolean {
    return isWaiting(this.#listener, call.id)
  }
}

/** How long a blocking connect of the socket may take; 0: as long as it takes. */
export function connectLimitMs(fd: number): number {
  return timeLimitMs(fd, SO_SNDTIMEO)
}

/** struct timeval: seconds i64, microseconds i64. */
function timeLimitMs(fd: number, option: number): number {
  const value = getSocketOption(fd, SOL_SOCKET, option, 16)
  return Math.ceil(Number(value.readBigInt64LE(0)) * 1000 + Number(value.readBigInt64LE(8)) / 1000)
}
