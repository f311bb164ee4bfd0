import { readdirSync, readFileSync } from "node:fs"
import { AppError } from "../../core/errors.ts"

/** Cgroups of programs that watch a container from outside (CRI-O's and Podman's `conmon`) carry its id, too. */
const watcherCgroup = /conmon/

/**
 * The main process of a container, found by the container's id in the cgroups of all processes: cgroup v1 and v2, with
 * the names containerd, CRI-O and Docker give, with systemd or cgroupfs. Of several processes the oldest is the main
 * one: everything else in the container was started by it, or later by `kubectl exec`.
 * `procFolder` is the host's /proc.
 * @throws AppError "target-not-found"
 */
export function findContainer(containerId: string, procFolder = "/proc"): number {
  const names = namesOf(containerId)
  let main: { pid: number; startTicks: bigint } | undefined
  for (const name of readdirSync(procFolder)) {
    if (!/^\d+$/.test(name) || !isInContainer(`${procFolder}/${name}`, names)) continue
    const startTicks = startOf(`${procFolder}/${name}`)
    if (startTicks === undefined || (main && main.startTicks <= startTicks)) continue
    main = { pid: Number(name), startTicks }
  }
  if (main) return main.pid
  throw new AppError("target-not-found", `No process of container ${containerId} runs on this node`, {
    next: "Check that the container still runs, and that the agent shares the node's process namespace (hostPID).",
  })
}

/** Whether a process belongs to a container, as `findContainer` sees it. */
export function isOfContainer(pid: number, containerId: string, procFolder = "/proc"): boolean {
  return isInContainer(`${procFolder}/${pid}`, namesOf(containerId))
}

const namesOf = (containerId: string) => new RegExp(`(^|[/:-])${escaped(containerId)}(\\.scope)?($|[/:])`)

/** A line of /proc/PID/cgroup is "hierarchy:controllers:path"; v2 has one line, v1 one for each hierarchy. */
function isInContainer(process: string, names: RegExp): boolean {
  const lines = readIfThere(`${process}/cgroup`)?.split("\n") ?? []
  return lines.some((line) => names.test(line) && !watcherCgroup.test(line))
}

/** Field 22 of /proc/PID/stat; the name in field 2 is in parentheses and may hold anything. */
function startOf(process: string): bigint | undefined {
  const stat = readIfThere(`${process}/stat`)
  if (stat === undefined) return undefined
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ")
  const isZombie = fields[0] === "Z"
  return isZombie ? undefined : BigInt(fields[19] ?? 0)
}

/** Undefined when the process has ended meanwhile. */
function readIfThere(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8")
  } catch {
    return undefined
  }
}

function escaped(text: string): string {
  return text.replace(/[^\w]/g, "\\$&")
}
