import { readFileSync } from "node:fs"
import { errno, LinuxError } from "../../../../core/linux/errno.ts"

/** Process of a thread. @throws LinuxError ESRCH */
export function threadGroup(tid: number): number {
  return Number(statusLine(tid, "Tgid"))
}

/** One value of /proc/TID/status. @throws LinuxError ESRCH */
export function statusLine(tid: number, key: string): string {
  let status: string
  try {
    status = readFileSync(`/proc/${tid}/status`, "utf8")
  } catch {
    throw new LinuxError(errno.ESRCH, "look at the program")
  }
  const line = new RegExp(`^${key}:\\s*(.*)$`, "m").exec(status)
  return line?.[1] ?? ""
}
