import { check } from "../../../../core/linux/errno.ts"
import { duplicate } from "../../../../core/linux/open.ts"
import { syscall } from "../../../../core/linux/syscall.ts"

const EPOLL_CTL_ADD = 1
const EPOLL_CTL_DEL = 2
export const EPOLLIN = 1
export const EPOLLOUT = 4
const EPOLLONESHOT = 1 << 30
const EPOLL_CLOEXEC = 0o2000000
/** struct epoll_event is packed on x86-64 only. */
const dataAt = process.arch === "x64" ? 4 : 8

/**
 * Descriptors the main thread waits for. The watching thread sleeps on all of them together with the listener and
 * reports those that are ready; each report needs a new `wait`.
 */
export class Readiness {
  /** The epoll descriptor, for the watching thread. */
  readonly epoll = check(syscall("epoll_create1", EPOLL_CLOEXEC), "epoll_create1")
  readonly #waiting = new Map<number, { fd: number; ready: () => void }>()
  #nextToken = 0

  /** Calls `ready` once when the descriptor has one of these events. `cancel` of the result may always be called. */
  wait(fd: number, events: number, ready: () => void): { cancel(): void } {
    const token = this.#nextToken++
    // A descriptor of its own, so that the same file may be waited for twice.
    const copy = duplicate(fd)
    this.#waiting.set(token, { fd: copy, ready })
    this.#control(EPOLL_CTL_ADD, copy, events | EPOLLONESHOT, token)
    return { cancel: () => void this.#take(token) }
  }

  /** A report of the watching thread. */
  ready(token: number): void {
    this.#take(token)?.ready()
  }

  close(): void {
    for (const token of [...this.#waiting.keys()]) this.#take(token)
    syscall("close", this.epoll)
  }

  #take(token: number): { ready: () => void } | undefined {
    const entry = this.#waiting.get(token)
    if (!entry) return undefined
    this.#waiting.delete(token)
    syscall("epoll_ctl", this.epoll, EPOLL_CTL_DEL, entry.fd, 0)
    syscall("close", entry.fd)
    return entry
  }

  #control(operation: number, fd: number, events: number, token: number): void {
    const event = Buffer.alloc(16)
    event.writeUInt32LE(events >>> 0, 0)
    event.writeUInt32LE(token, dataAt)
    check(syscall("epoll_ctl", this.epoll, operation, fd, event), "epoll_ctl")
  }
}
