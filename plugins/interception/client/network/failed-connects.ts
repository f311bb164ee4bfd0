import { pendingError } from "../../../../core/linux/socket.ts"
import { socketCookie } from "../kernel/socket-info.ts"
import type { SharedState } from "../watch/shared-state.ts"

/** Failed connects nobody asked about yet; older ones are forgotten. */
const maxFailures = 1024

/** Why non-blocking connects failed, until the program asks: the kernel only knows that they were broken off. */
export class FailedConnects {
  readonly #shared: SharedState
  /** Errno by socket cookie. */
  readonly #byCookie = new Map<bigint, number>()

  constructor(shared: SharedState) {
    this.#shared = shared
  }

  /** Whether some socket has an error to be told yet. */
  get any(): boolean {
    return this.#byCookie.size > 0
  }

  /** `number` is a positive errno. */
  add(fd: number, number: number): void {
    this.#byCookie.set(socketCookie(fd), number)
    this.#shared.failedConnects = true
    for (const old of this.#byCookie.keys()) {
      if (this.#byCookie.size <= maxFailures) break
      this.#byCookie.delete(old)
    }
  }

  /** Takes the errno of a failed connect of this socket; 0 when there is none. */
  take(fd: number): number {
    if (!this.any) return 0
    const cookie = socketCookie(fd)
    const number = this.#byCookie.get(cookie) ?? 0
    if (this.#byCookie.delete(cookie)) this.#shared.failedConnects = this.any
    // Clears what the kernel made of it, so that it is told only once.
    if (number !== 0) pendingError(fd)
    return number
  }
}
