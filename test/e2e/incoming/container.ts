import { mkdirSync, mkdtempSync, rmdirSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"

/** Why processes cannot be made to look like a container's here; undefined when they can. */
export function whyNoContainers(): string | undefined {
  const folder = mkdtempSync(join(tmpdir(), "podside-cgroup-"))
  const reason = mount(folder) ? undefined : "cgroups cannot be mounted"
  if (!reason) umount(folder)
  rmdirSync(folder)
  return reason
}

/** Puts a process into a cgroup with the name containerd gives a container's. It must have ended before `remove`. */
export function asContainer(pid: number, containerId: string): { remove(): void } {
  const folder = mkdtempSync(join(tmpdir(), "podside-cgroup-"))
  if (!mount(folder)) throw new Error("cgroups cannot be mounted")
  const cgroup = join(folder, `cri-containerd-${containerId}.scope`)
  mkdirSync(cgroup)
  writeFileSync(join(cgroup, "cgroup.procs"), `${pid}`)
  return {
    remove() {
      removeEmptied(cgroup)
      umount(folder)
      rmdirSync(folder)
    },
  }
}

/** A process that was killed may stay in its cgroup for a moment. */
function removeEmptied(cgroup: string): void {
  for (let attempt = 0; ; attempt++) {
    try {
      rmdirSync(cgroup)
      return
    } catch (thrown) {
      if (attempt === 500) throw thrown
      Bun.sleepSync(20)
    }
  }
}

const mount = (folder: string) => Bun.spawnSync(["mount", "-t", "cgroup2", "none", folder]).exitCode === 0
const umount = (folder: string) => void Bun.spawnSync(["umount", folder])
