import { errorText } from "../../../core/errors.ts"
import { errno } from "../../../core/linux/errno.ts"
import { syscall } from "../../../core/linux/syscall.ts"
import { callNames } from "./kernel/abi.ts"
import { type Answer, Call, errnoOf, type Handlers } from "./kernel/call.ts"
import { heldDescriptors, NotHeld } from "./kernel/held-descriptors.ts"
import { Notification, Replier } from "./kernel/notification.ts"
import { canFetchDescriptors } from "./kernel/rung.ts"
import { isFree } from "./kernel/tracee.ts"
import type { Supervision } from "./supervision.ts"

/** Answers the calls the watching thread hands over. */
export class Supervisor {
  readonly #supervision: Supervision
  readonly #handlers: Handlers
  readonly #names: ReturnType<typeof callNames>
  readonly #listener: number
  readonly #replier: Replier
  readonly #next: { ready: number; live: number }
  #closed = false

  constructor(listener: number, supervision: Supervision, handlers: Handlers) {
    this.#supervision = supervision
    this.#handlers = handlers
    this.#names = callNames(supervision.architecture)
    this.#listener = listener
    this.#replier = new Replier(listener)
    this.#next = { ready: supervision.ranges.readyFrom, live: supervision.ranges.liveFrom }
  }

  /** Takes one notification; the answer may come later. Never throws. */
  take(bytes: Uint8Array): void {
    const name = this.#names.get(new Notification(bytes).nr)
    const call = new Call(name ?? "read", bytes, this.#listener)
    const handler = name && this.#handlers[name]
    if (!handler) {
      this.#replier.proceed(call.id)
      return
    }
    try {
      const answer = handler(call)
      if (answer instanceof Promise)
        answer.then((given) => this.#answer(call, given)).catch((thrown) => this.#fail(call, thrown))
      else this.#answer(call, answer)
    } catch (thrown) {
      this.#fail(call, thrown)
    }
  }

  /** Answers that come later are dropped: the listener's number may belong to somebody else by then. */
  close(): void {
    this.#closed = true
  }

  #answer(call: Call, answer: Answer): void {
    if (this.#closed) {
      if (answer.kind === "give") syscall("close", answer.fd)
      return
    }
    switch (answer.kind) {
      case "proceed":
        this.#replier.proceed(call.id)
        break
      case "value":
        this.#replier.value(call.id, answer.value)
        break
      case "errno":
        this.#replier.fail(call.id, answer.errno)
        break
      case "give":
        this.#give(call, answer)
    }
  }

  #give(call: Call, { fd, closeOnExec, range, fallback, hold }: Answer & { kind: "give" }): void {
    let result = -errno.EMFILE
    try {
      const at = range && this.#freeNumber(call.tid, range)
      if (!range || at !== undefined) result = this.#replier.give(call.id, fd, closeOnExec, at)
      if (result < 0 && fallback) result = this.#replier.give(call.id, fd, closeOnExec)
      if (result < 0) this.#replier.fail(call.id, range ? errno.EMFILE : -result)
    } finally {
      if (result >= 0 && !canFetchDescriptors() && (hold || range === "live"))
        heldDescriptors.hold(fd, call.tid, result)
      else syscall("close", fd)
    }
  }

  /** A number in the range that the program does not use. Goes round, so that the first try nearly always fits. */
  #freeNumber(tid: number, range: "ready" | "live"): number | undefined {
    const { readyFrom, liveFrom, end } = this.#supervision.ranges
    const [from, to] = range === "ready" ? [readyFrom, liveFrom] : [liveFrom, end]
    for (let tries = to - from; tries > 0; tries--) {
      const number = this.#next[range]
      this.#next[range] = number + 1 < to ? number + 1 : from
      if (isFree(tid, number)) return number
    }
    return undefined
  }

  #fail(call: Call, thrown: unknown): void {
    if (this.#closed) return
    if (thrown instanceof NotHeld) {
      this.#notHeld(call)
      return
    }
    const number = errnoOf(thrown)
    if (number === undefined) {
      this.#supervision.log.warn("a call of the program could not be answered", {
        call: call.name,
        reason: errorText(thrown),
      })
    }
    this.#replier.fail(call.id, number ?? errno.EIO)
  }

  /** The kernel goes on with a descriptor that is not ours, but a remote file has nothing the program could read there. */
  #notHeld(call: Call): void {
    const { liveFrom, end } = this.#supervision.ranges
    const isRemote = call.int(0) >= liveFrom && call.int(0) < end
    if (isRemote) this.#replier.fail(call.id, errno.EBADF)
    else this.#replier.proceed(call.id)
  }
}
