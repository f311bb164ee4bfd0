import { readLink } from "../kernel/tracee.ts"
import type { SharedState } from "./shared-state.ts"

const SLASH = 0x2f
const opens = new Set(["open", "openat", "openat2"])

/** Whether a call opens the root folder: from then on names relative to descriptors have to be looked at. */
export function opensRoot(call: string, path: Uint8Array): boolean {
  return opens.has(call) && path.every((byte) => byte === SLASH)
}

/**
 * Whether descriptor `fd` of a thread is the root folder. That folder is this machine's, but names below it are as good as absolute
 * ones: `find /`, `tar -C /` and rsync, which walks to every folder from there, mean the pod's. Costs nothing until somebody opens it.
 */
export function isRoot(shared: SharedState, tid: number, fd: number): boolean {
  return shared.rootOpened && readLink(`/proc/${tid}/fd/${fd}`) === "/"
}
