import { afterEach, expect, test } from "bun:test"
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { findContainer, isOfContainer } from "./find-container.ts"

/* Made-up /proc folders with the cgroup lines the runtimes write. */

const id = "3f4a".repeat(16)
const other = "77aa".repeat(16)
const folders: string[] = []
afterEach(() => {
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true })
})

function proc(processes: Record<number, { cgroup: string; start: number; state?: string }>): string {
  const folder = mkdtempSync(join(tmpdir(), "podside-proc-"))
  folders.push(folder)
  mkdirSync(join(folder, "sys"))
  for (const [pid, { cgroup, start, state = "S" }] of Object.entries(processes)) {
    mkdirSync(join(folder, pid))
    writeFileSync(join(folder, pid, "cgroup"), `${cgroup}\n`)
    writeFileSync(join(folder, pid, "stat"), `${pid} (we ird) name) ${state} 1 ${"0 ".repeat(17)}${start} 0 0\n`)
  }
  return folder
}

const pod = "kubepods-burstable-podd0a1.slice"
test.each([
  ["containerd, cgroup v2, systemd", `0::/kubepods.slice/${pod}/cri-containerd-${id}.scope`],
  ["CRI-O, cgroup v2, systemd", `0::/kubepods.slice/${pod}/crio-${id}.scope`],
  ["CRI-O with a container folder below", `0::/kubepods.slice/${pod}/crio-${id}.scope/container`],
  ["Docker, cgroup v2, systemd", `0::/kubepods.slice/${pod}/docker-${id}.scope`],
  ["cgroupfs", `0::/kubepods/burstable/podd0a1/${id}`],
  ["cgroup v1", `12:memory:/kubepods/burstable/podd0a1/${id}\n1:name=systemd:/kubepods/burstable/podd0a1/${id}`],
  ["containerd, systemd names under cgroupfs", `0::/system.slice/containerd.service/${pod}:cri-containerd:${id}`],
  ["seen from another cgroup namespace", `0::/../../${pod}/cri-containerd-${id}.scope`],
  ["a container that runs systemd", `0::/kubepods.slice/${pod}/cri-containerd-${id}.scope/init.scope`],
])("finds the container of %s", (_, cgroup) => {
  const others = { 5: { cgroup: cgroup.replaceAll(id, other), start: 1 }, 6: { cgroup: "0::/", start: 2 } }
  const folder = proc({ ...others, 40: { cgroup, start: 100 } })
  expect(findContainer(id, folder)).toBe(40)
  expect([40, 5, 6, 7].filter((pid) => isOfContainer(pid, id, folder))).toEqual([40])
})

test("the oldest process is the main one, whatever its number", () => {
  const cgroup = `0::/kubepods.slice/cri-containerd-${id}.scope`
  const processes = { 30: { cgroup, start: 300 }, 900: { cgroup, start: 200 }, 1000: { cgroup, start: 9000 } }
  expect(findContainer(id, proc(processes))).toBe(900)
})

test("neither a dead main process nor the runtime's watcher is the target", () => {
  const cgroup = `0::/kubepods.slice/crio-${id}.scope`
  const processes = {
    10: { cgroup: `0::/kubepods.slice/crio-conmon-${id}.scope`, start: 1 },
    11: { cgroup, start: 2, state: "Z" },
    12: { cgroup, start: 3 },
  }
  expect(findContainer(id, proc(processes))).toBe(12)
})

test.each([`0::/kubepods.slice/cri-containerd-${id}0.scope`, `0::/kubepods.slice/x${id}`])(
  "%s is another container",
  (cgroup) => {
    expect(() => findContainer(id, proc({ 3: { cgroup, start: 1 } }))).toThrow("No process of container")
  },
)
