import { readdirSync, readFileSync } from "node:fs"

/**
 * "Handle the signal, then, if the handler wants that, make the call again": known only inside the kernel, which acts on it
 * because this thread has a signal to handle when the call returns. A thread that has none would see the bare number.
 */
export const ERESTARTSYS = 512

/**
 * Whether a signal waits for this thread to handle it. One for the whole process is handled by a single thread, which the kernel chooses
 * when it comes: the first of the process, or the next one that does not block it (complete_signal in kernel/signal.c).
 */
export function hasSignal(tid: number): boolean {
  const state = signalsOf(tid)
  if (!state) return false
  if ((state.own & ~state.blocked & ~state.ignored) !== 0n) return true
  let left = state.shared & ~state.blocked & ~state.ignored
  for (const earlier of left === 0n ? [] : threadsOf(tid)) {
    if (earlier === tid) break
    left &= signalsOf(earlier)?.blocked ?? left
  }
  return left !== 0n
}

interface Signals {
  /** Those that wait for the thread alone, and for its process. */
  own: bigint
  shared: bigint
  blocked: bigint
  ignored: bigint
}

/** Undefined for a thread that has ended. */
function signalsOf(tid: number): Signals | undefined {
  let status: string
  try {
    status = readFileSync(`/proc/${tid}/status`, "latin1")
  } catch {
    return undefined
  }
  if (/^State:\s*[ZX]/m.test(status)) return undefined
  const set = (name: string) => BigInt(`0x${new RegExp(`^${name}:\\s*([0-9a-f]+)`, "m").exec(status)?.[1] ?? "0"}`)
  return { own: set("SigPnd"), shared: set("ShdPnd"), blocked: set("SigBlk"), ignored: set("SigIgn") }
}

/** The threads of a thread's process, the first one first. */
function threadsOf(tid: number): number[] {
  try {
    return readdirSync(`/proc/${tid}/task`).map(Number)
  } catch {
    return []
  }
}
