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

/**
 * Whether a process there has still to become its program: it bears the starter's name, or none for the moment in which the
 * kernel changes it.
 */
export function isStarting(holder: number, starter: string): boolean {
  const space = namespaceOf(holder)
  return pids().some((pid) => {
    if (pid === holder || namespaceOf(pid) !== space || hasEnded(pid)) return false
    const command = commandLine(pid)
    return command === "" || basename(command.split("\0")[0]!) === starter
  })
}

/** Pid of the `unshare` that made the holder's namespaces: it shares all but that of processes, and ends a moment after it. */
export function starterOf(holder: number): number | null {
  const parent = Number(statOf(holder)?.[1])
  const space = namespaceOf(holder, "net")
  return space !== null && namespaceOf(parent, "net") === space ? parent : null
}

/** Whether a process has ended; for the first of a process namespace that means that all others have ended before. */
export function hasEnded(pid: number): boolean {
  const [state] = statOf(pid) ?? ["X"]
  return state === "Z" || state === "X"
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

/** State, parent and so on: the fields behind "pid (name, which may hold anything)". Source: proc_pid_stat(5). */
function statOf(pid: number): string[] | null {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8")
    return stat.slice(stat.lastIndexOf(")") + 2).split(" ")
  } catch {
    return null
  }
}

function namespaceOf(pid: number, kind: "pid" | "net" = "pid"): string | null {
  try {
    return readlinkSync(`/proc/${pid}/ns/${kind}`)
  } catch {
    return null
  }
}
