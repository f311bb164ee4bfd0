import { ErrnoError } from "../../../../core/client/engine.ts"
import { errno, isLinuxError, LinuxError } from "../../../../core/linux/errno.ts"
import type { CallName } from "./abi.ts"
import { isWaiting, Notification } from "./notification.ts"

/** An intercepted call that waits for an answer. */
export class Call extends Notification {
  readonly name: CallName
  readonly #listener: number
  constructor(name: CallName, bytes: Uint8Array, listener: number) {
    super(bytes)
    this.name = name
    this.#listener = listener
  }

  /** Whether the caller is still there and has no answer yet. */
  get isWaiting(): boolean {
    return isWaiting(this.#listener, this.id)
  }

  /**
   * To be asked before the caller's memory is used, or anything done in its name, after something else was waited for. When another
   * thread of its process has called execve meanwhile, `tid` is another program. @throws LinuxError ESRCH, which nobody hears
   */
  mustWait(): void {
    if (!this.isWaiting) throw new LinuxError(errno.ESRCH, "answer a call")
  }
}

/**
 * How a call is answered: the kernel runs it, a result, a positive errno, or a descriptor. `give` is closed after the
 * answer; `range` asks for a number there, `fallback` allows any other when that cannot be had. `hold`: the engine keeps a copy.
 */
export type Answer =
  | { kind: "proceed" }
  | { kind: "value"; value: bigint }
  | { kind: "errno"; errno: number }
  | { kind: "give"; fd: number; closeOnExec: boolean; range?: "ready" | "live"; fallback?: boolean; hold?: boolean }

export type Handler = (call: Call) => Answer | Promise<Answer>
export type Handlers = { [name in CallName]?: Handler }

export const proceed: Answer = { kind: "proceed" }
export const success: Answer = { kind: "value", value: 0n }

export function value(result: number | bigint): Answer {
  return { kind: "value", value: BigInt(result) }
}

export function failure(number: number): Answer {
  return { kind: "errno", errno: number }
}

/** The errno a program sees for anything thrown, undefined when it was no refusal but a fault of ours. */
export function errnoOf(thrown: unknown): number | undefined {
  if (thrown instanceof ErrnoError && Number.isInteger(thrown.errno) && thrown.errno > 0 && thrown.errno < 4096) {
    return thrown.errno
  }
  return isLinuxError(thrown) ? thrown.errno : undefined
}
