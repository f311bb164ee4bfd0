import { check, errno } from "../../../../core/linux/errno.ts"
import { addressOf, syscall } from "../../../../core/linux/syscall.ts"

/*
 * struct pollfd: descriptor i32, events i16, what there is of them i16.
 * struct epoll_event: events u32, data u64; packed on x86-64 only.
 */
const listenerAt = 6
const otherAt = 14
export const POLLIN = 1
export const POLLHUP = 0x10
const eventBytes = process.arch === "x64" ? 12 : 16
const eventDataAt = eventBytes - 8
const eventCount = 32

/**
 * What the watching thread sleeps on: the listener and, by an epoll descriptor, whatever else the main thread waits for. The listener is
 * not in there: only who sleeps on it directly is handed the processor of the thread that made the call (see `wakeSynchronously`).
 */
export class Wakeups {
  readonly #polls = Buffer.from(new ArrayBuffer(16))
  readonly #pollsAt = addressOf(this.#polls)
  readonly #epoll: number
  readonly #events = Buffer.from(new ArrayBuffer(eventBytes * eventCount))

  constructor(listener: number, epoll: number) {
    this.#epoll = epoll
    this.#polls.writeInt32LE(listener, 0)
    this.#polls.writeInt16LE(POLLIN, 4)
    this.#polls.writeInt32LE(epoll, 8)
    this.#polls.writeInt16LE(POLLIN, 12)
  }

  /** Sleeps. Returns what there is of the listener, as poll(2) says it: 0 when it was something else. @throws LinuxError */
  next(ready: (token: number) => void): number {
    const count = syscall("ppoll", this.#pollsAt, 2, 0, 0, 8)
    if (count === -errno.EINTR) return 0
    check(count, "ppoll")
    if (this.#polls[otherAt] !== 0) this.#report(ready)
    return this.#polls[listenerAt]!
  }

  #report(ready: (token: number) => void): void {
    const count = syscall("epoll_pwait", this.#epoll, this.#events, eventCount, 0, 0, 8)
    for (let index = 0; index < count; index++) ready(this.#events.readUInt32LE(index * eventBytes + eventDataAt))
  }
}
