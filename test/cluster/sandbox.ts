import { spawn } from "node:child_process"
import {
  closeSync,
  copyFileSync,
  existsSync,
  linkSync,
  mkdirSync,
  openSync,
  readdirSync,
  renameSync,
  rmdirSync,
  rmSync,
  statSync,
  symlinkSync,
} from "node:fs"
import { join } from "node:path"
import { AppError, errorText } from "../../core/errors.ts"
import type { Layout } from "./layout.ts"
import { hasEnded, holderOf, isStarting, starterOf } from "./processes.ts"
import { must, run } from "./run.ts"

/*
 * A cluster's processes live in a process, mount, network, host-name and IPC namespace that one process holds: when it is
 * killed, the kernel ends every process and container and removes every mount, namespace, interface and route with it.
 *
 * Inside, the cluster's folder is /mnt, and /run and /var are folders of it. So each cluster has its own
 * /run/containerd/containerd.sock, /var/lib/kubelet and /var/log/pods at the places real nodes have them.
 */
const enter = `
mount --bind "$1" /mnt
mount --bind /mnt/run /run
mount --bind /mnt/var /var
mount --make-rshared /
hostname "$2"
exec /mnt/bin/pause cluster "$1"
`

const namespaces = ["--mount", "--net", "--uts", "--ipc", "--pid"]

/** Starts the namespaces of a cluster and joins them to the host; does nothing when they are there. */
export async function startSandbox(layout: Layout): Promise<number> {
  const running = holderOf(layout.folder)
  if (running !== null) return running
  await clearRemains(layout)
  prepareFolder(layout.folder)
  const log = openSync(join(layout.folder, "logs", "sandbox.log"), "w")
  const child = spawn(
    "unshare",
    [
      ...namespaces,
      "--fork",
      "--mount-proc",
      "--propagation",
      "private",
      "sh",
      "-euc",
      enter,
      "enter",
      layout.folder,
      layout.node,
    ],
    { detached: true, stdio: ["ignore", log, log] },
  )
  closeSync(log)
  let ended = false
  child.on("exit", () => (ended = true))
  child.on("error", () => (ended = true))
  child.unref()
  for (const deadline = Date.now() + 60_000; Date.now() < deadline && !ended; await Bun.sleep(20)) {
    const holder = holderOf(layout.folder)
    if (holder === null) continue
    try {
      await connectToHost(layout, holder)
    } catch (cause) {
      throw new AppError("network-failed", `Cannot join the cluster's network to the machine's: ${errorText(cause)}`, {
        cause,
        next: "Run as root with CAP_NET_ADMIN on a kernel with virtual Ethernet pairs (CONFIG_VETH).",
      })
    }
    return holder
  }
  const said = await Bun.file(join(layout.folder, "logs", "sandbox.log")).text()
  throw new AppError(
    "sandbox-failed",
    `Cannot make the cluster's namespaces:\n  ${said.trim() || "nothing was said in time"}`,
    {
      next: "Run as root with CAP_SYS_ADMIN and CAP_NET_ADMIN (in a container: --privileged).",
    },
  )
}

/** The words in front of a command that make it run inside the cluster's namespaces. */
export function inside(holder: number): string[] {
  return ["nsenter", "--target", String(holder), ...namespaces, "--wd=/mnt", "--"]
}

/** Starts a program inside that outlives this process. Its output goes to `logs/NAME.log`; the log before is kept once. */
export async function startInside(layout: Layout, holder: number, name: string, command: string[]): Promise<void> {
  const path = join(layout.folder, "logs", `${name}.log`)
  if (existsSync(path)) renameSync(path, join(layout.folder, "logs", `${name}.previous.log`))
  const log = openSync(path, "w")
  try {
    const starter = spawn(inside(holder)[0]!, [...inside(holder).slice(1), "setsid", "--fork", ...command], {
      stdio: ["ignore", log, log],
      env: {
        PATH: "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        HOME: "/root",
        GOTRACEBACK: "single",
      },
    })
    await new Promise((resolve) => starter.on("exit", resolve).on("error", resolve))
    for (let turn = 0; turn < 500 && isStarting(holder, "setsid"); turn++) await Bun.sleep(10)
  } finally {
    closeSync(log)
  }
}

/** Ends every process of the cluster and removes what it had on the host; the folder stays. */
export async function stopSandbox(layout: Layout): Promise<void> {
  const holder = holderOf(layout.folder)
  if (holder !== null) {
    const keepers = [holder, starterOf(holder)].filter((pid) => pid !== null)
    process.kill(holder, "SIGKILL")
    for (const deadline = Date.now() + 60_000; !keepers.every(hasEnded); await Bun.sleep(20)) {
      if (Date.now() < deadline) continue
      throw new AppError("sandbox-stuck", `The cluster's processes do not end (holder ${holder})`, {
        next: "Look for processes in uninterruptible sleep (state D); only a restart of the machine ends them.",
      })
    }
  }
  await clearRemains(layout)
}

/** The interface pair dies with the network namespace, but a moment later: removing our end makes it sure and soon. */
async function clearRemains(layout: Layout): Promise<void> {
  await run(["ip", "link", "del", layout.hostInterface])
  for (const hierarchy of controlGroupHierarchies()) {
    await removeControlGroup(join(hierarchy, layout.controlGroup))
  }
  rmSync(join(layout.folder, "run"), { recursive: true, force: true })
}

async function connectToHost(layout: Layout, holder: number): Promise<void> {
  const { hostInterface, v6 } = layout
  const commands = [
    `link add ${hostInterface} type veth peer name node0 netns ${holder}`,
    `addr add ${layout.hostAddress}/24 dev ${hostInterface}`,
    ...(v6 ? [`addr add ${v6.hostAddress}/64 dev ${hostInterface} nodad`] : []),
    `link set ${hostInterface} up`,
  ]
  for (const command of commands) await must(["ip", ...command.split(" ")])
  const node = (command: string) => must([...inside(holder), "ip", ...command.split(" ")])
  await node(`addr add ${layout.nodeAddress}/24 dev node0`)
  if (v6) await node(`addr add ${v6.nodeAddress}/64 dev node0 nodad`)
  await must([...inside(holder), "sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward"])
  await node("link set lo up")
  await node("link set node0 up")
  await node(`route add default via ${layout.hostAddress}`)
  if (v6) {
    await must([...inside(holder), "sh", "-c", "echo 1 > /proc/sys/net/ipv6/conf/all/forwarding"])
    await node(`-6 route add default via ${v6.hostAddress}`)
  }
  for (const range of [layout.podRange, layout.serviceRange])
    await must(["ip", "route", "add", range, "via", layout.nodeAddress])
  for (const range of v6 ? [v6.podRange, v6.serviceRange] : []) {
    await must(["ip", "-6", "route", "add", range, "via", v6!.nodeAddress])
  }
  for (const hierarchy of controlGroupHierarchies())
    mkdirSync(join(hierarchy, layout.controlGroup), { recursive: true })
}

function prepareFolder(folder: string): void {
  for (const name of ["run/lock", "var/lib", "var/log", "var/cache", "logs", "bin", "etcd", "cni", "config"]) {
    mkdirSync(join(folder, name), { recursive: true })
  }
  mkdirSync(join(folder, "var/tmp"), { recursive: true, mode: 0o1777 })
  if (!existsSync(join(folder, "var/run"))) symlinkSync("../run", join(folder, "var/run"))
  mkdirSync("/mnt", { recursive: true })
}

/** Puts a cached program into the cluster's `bin` under a name; hard links cost nothing. */
export function placeProgram(layout: Layout, file: string, name: string): void {
  const place = join(layout.folder, "bin", name)
  mkdirSync(join(layout.folder, "bin"), { recursive: true })
  if (existsSync(place) && statSync(place).ino === statSync(file).ino) return
  rmSync(place, { force: true })
  try {
    linkSync(file, place)
  } catch {
    copyFileSync(file, place)
  }
}

/** cgroup v1: one folder per controller, and `unified`, where runc makes groups as well; v2: the one tree. */
function controlGroupHierarchies(): string[] {
  const root = "/sys/fs/cgroup"
  if (existsSync(join(root, "cgroup.controllers"))) return [root]
  return readdirSync(root, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map((entry) => join(root, entry.name))
}

/** A group can be removed when its processes are gone, which the kernel may notice a moment after they are. */
async function removeControlGroup(group: string): Promise<void> {
  if (!existsSync(group)) return
  for (const entry of readdirSync(group, { withFileTypes: true })) {
    if (entry.isDirectory()) await removeControlGroup(join(group, entry.name))
  }
  for (let turn = 0; ; turn++) {
    try {
      return rmdirSync(group)
    } catch (cause) {
      if ((cause as NodeJS.ErrnoException).code === "ENOENT") return
      if (turn === 100) throw new AppError("cgroup-busy", `Cannot remove the control group ${group}`, { cause })
      await Bun.sleep(50)
    }
  }
}
