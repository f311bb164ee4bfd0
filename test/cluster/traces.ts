import { existsSync, readdirSync, readFileSync, readlinkSync } from "node:fs"
import { join } from "node:path"
import type { Layout } from "./layout.ts"
import { holderOf } from "./processes.ts"
import { must } from "./run.ts"

/** What a cluster has on the machine while it runs, or what is left of it. */
export interface Traces {
  /** `PID START COMMAND`; the start time tells a process from a later one with its number. */
  processes: string[]
  /** `net:[4026532001]` and so on, those of the machine itself left out. */
  namespaces: string[]
  /** When they were taken, in clock ticks since the machine's start. */
  at: number
}

/** The processes below the cluster's holder, containers and all, and the namespaces they are in. */
export function tracesOf(layout: Layout): Traces {
  const at = ticksNow()
  const holder = holderOf(layout.folder)
  if (holder === null) return { processes: [], namespaces: [], at }
  const all = allProcesses()
  const family = new Set([holder])
  for (let before = 0; before !== family.size; ) {
    before = family.size
    for (const { pid, parent } of all) if (family.has(parent)) family.add(pid)
  }
  const machine = new Set(namespacesOf(process.pid))
  const namespaces = [...family].flatMap(namespacesOf).filter((namespace) => !machine.has(namespace))
  return {
    processes: all.filter(({ pid }) => family.has(pid)).map(({ text }) => text),
    namespaces: [...new Set(namespaces)].sort(),
    at,
  }
}

/** Which of these traces are still to be found. */
export function stillThere(traces: Traces): Pick<Traces, "processes" | "namespaces"> {
  const all = allProcesses()
  const texts = new Set(all.map(({ text }) => text))
  // The kernel gives a namespace's number to the next one that is made; whoever came later is in one of its own.
  const old = all.filter(({ start }) => start <= traces.at)
  const namespaces = new Set(old.flatMap(({ pid }) => namespacesOf(pid)))
  return {
    processes: traces.processes.filter((text) => texts.has(text)),
    namespaces: traces.namespaces.filter((namespace) => namespaces.has(namespace)),
  }
}

/** The machine's mounts, interfaces, routes and control groups as sorted lines, to compare two moments. */
export async function machineState(): Promise<Record<string, string[]>> {
  const lines = (text: string) => text.split("\n").filter(Boolean).sort()
  const links = (await must(["ip", "-json", "link"])) || "[]"
  return {
    mounts: lines(readFileSync("/proc/self/mounts", "utf8")),
    interfaces: JSON.parse(links)
      .map(({ ifname }: { ifname: string }) => ifname)
      .sort(),
    routes: lines(await must(["ip", "route", "show", "table", "all"])).map((line) => line.trim()),
    routes6: lines(await must(["ip", "-6", "route", "show", "table", "all"])).map((line) =>
      line.replace(/ expires \d+sec/, "").trim(),
    ),
    groups: groupsBelow("/sys/fs/cgroup", 2).sort(),
    folders: ["/run", "/opt", "/var/lib", "/var/log", "/etc"].flatMap((folder) =>
      existsSync(folder) ? readdirSync(folder).map((name) => join(folder, name)) : [],
    ),
  }
}

function groupsBelow(folder: string, depth: number): string[] {
  if (depth === 0) return []
  return readdirSync(folder, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .flatMap((entry) => [join(folder, entry.name), ...groupsBelow(join(folder, entry.name), depth - 1)])
}

/** Lines that came since `before` and can only be a cluster's: other programs of the machine may come and go meanwhile. */
export function leftBehind(
  layouts: Layout[],
  before: Record<string, string[]>,
  after: Record<string, string[]>,
): string[] {
  const own = layouts.flatMap(({ name, folder, hostInterface, hostAddress, podRange, serviceRange, v6 }) => {
    const ranges = [podRange, serviceRange, ...(v6 ? [v6.hostAddress, v6.podRange, v6.serviceRange] : [])]
    return [name, folder, hostInterface, hostAddress, ...ranges]
  })
  const kinds = ["kube", "containerd", "etcd", "coredns", "cni", "pod-addresses", "/mnt/"]
  return Object.entries(after).flatMap(([kind, lines]) => {
    const known = new Set(before[kind])
    return lines.filter((line) => !known.has(line) && [...own, ...kinds].some((word) => line.includes(word)))
  })
}

interface Running {
  pid: number
  parent: number
  /** In clock ticks since the machine's start. */
  start: number
  text: string
}

const ticksPerSecond = 100

function ticksNow(): number {
  return Math.ceil(Number(readFileSync("/proc/uptime", "utf8").split(" ")[0]) * ticksPerSecond)
}

function allProcesses(): Running[] {
  return readdirSync("/proc").flatMap((name): Running[] => {
    if (!/^\d+$/.test(name)) return []
    try {
      // "pid (name, which may hold anything) state parent …", start time is field 22. Source: proc_pid_stat(5).
      const stat = readFileSync(`/proc/${name}/stat`, "utf8")
      const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ")
      if (fields[0] === "Z") return []
      const command = stat.slice(stat.indexOf("(") + 1, stat.lastIndexOf(")"))
      const start = Number(fields[19])
      return [{ pid: Number(name), parent: Number(fields[1]), start, text: `${name} ${start} ${command}` }]
    } catch {
      return []
    }
  })
}

function namespacesOf(pid: number): string[] {
  return ["mnt", "net", "pid", "uts", "ipc"].flatMap((kind) => {
    try {
      return [readlinkSync(`/proc/${pid}/ns/${kind}`)]
    } catch {
      return []
    }
  })
}
