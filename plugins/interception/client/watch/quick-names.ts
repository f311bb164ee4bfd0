import type { Notification } from "../kernel/notification.ts"
import { writeAddress } from "../kernel/socket-info.ts"
import { socketInodeOf, writeMemory } from "../kernel/tracee.ts"
import type { SharedNames } from "./shared-names.ts"

/**
 * Answers getsockname and getpeername of established connections on the watching thread: Go asks both after each connect.
 * Tells whether the answer is in the program's memory; the main thread sees to everything else.
 */
export function answersName(call: Notification, which: "getsockname" | "getpeername", names: SharedNames): boolean {
  const inode = socketInodeOf(call.tid, call.int(0))
  const address = inode === undefined ? undefined : names.get(inode, which === "getpeername" ? "peer" : "own")
  if (!address) return false
  try {
    writeAddress(call.tid, call.word(1), call.word(2), address)
    return true
  } catch {
    return false
  }
}

/** Answers uname, with what the main thread said the first time. */
export function answersMachine(call: Notification, machine: Uint8Array | undefined): boolean {
  if (!machine) return false
  try {
    writeMemory(call.tid, call.word(0), machine)
    return true
  } catch {
    return false
  }
}
