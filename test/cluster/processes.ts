import { readdirSync, readFileSync, readlinkSync } from "node:fs"
import { basename } from "node:path"

/**
 * The kernel is asked which processes exist: there is no pid file that could go stale. A cluster is the process
 * namespace of its holder, the `pause` program whose arguments name the cluster's folder.
 */
export function holderOf(folder: string): number | null {
  const wanted = `${["/mnt/bin/pause", "cluster", folder].join("\0")}\0`
  return pids().find((pid) => commandLine(pid) === wanted) ?? null
}

/** Pids (as the host counts) of the processes that run directly in the holder's process namespace, by program name. */
export function processesOf(holder: number): Map<string, number> {
  const found = new Map<string, number>()
  const space = namespaceOf(holder)
  if (space === null) return found
  for (const pid of pids()) {
    if (pid === holder || namespaceOf(pid) !== space) continue
    const name = basename(commandLine(pid).split("\0")[0] ?? "")
    if (name !== "") found.set(name, pid)
  }
  return found
}

/** Whether a process has ended; for the first of a process namespace that means that all others have ended before. */
export function hasEnded(pid: number): boolean {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8")
    return /[ZX]/.test(stat.charAt(stat.lastIndexOf(")") + 2))
  } catch {
    return true
  }
}

function pids(): number[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
}

/** Empty for a process that is gone, a zombie and a kernel thread. */
function commandLine(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, "utf8")
  } catch {
    return ""
  }
}

function namespaceOf(pid: number): string | null {
  try {
    return readlinkSync(`/proc/${pid}/ns/pid`)
  } catch {
    return null
  }
}
