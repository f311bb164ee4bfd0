import { readFileSync } from "node:fs"
import { release } from "node:os"
import { errnoName } from "../../../../core/linux/errno.ts"
import { addressOf } from "../../../../core/linux/syscall.ts"
import { architectureOf } from "../kernel/abi.ts"
import { canFetchDescriptors, canMakeUserNamespaces, isKernelAtLeast, type Rung } from "../kernel/rung.ts"
import { peek } from "../kernel/tracee.ts"

export interface Lack {
  code: string
  reason: string
  next: string
}

/** Answer with a descriptor in one step (SECCOMP_ADDFD_FLAG_SEND) came with Linux 5.14. */
const oldestKernel = [5, 14] as const
/** kernel.yama.ptrace_scope: 2 lets only those who may trace look into processes, own children included; 3 nobody. */
const onlyTracers = 2
const nobody = 3
const CAP_SYS_PTRACE = 19n
const alternatives = "Use `podside port-forward`, or a Linux machine or virtual machine that allows it."

/** What is asked about a machine before a program is started on it. */
export interface Machine {
  platform: string
  arch: string
  /** As `uname -r` prints it. */
  release: string
  /** Content of a file; undefined when it cannot be read. */
  textOf(path: string): string | undefined
  userNamespaces(): boolean
}

const thisMachine = (): Machine => ({
  platform: process.platform,
  arch: process.arch,
  release: release(),
  textOf,
  userNamespaces: canMakeUserNamespaces,
})

/** What this machine lacks for the engine, with the next step; undefined when nothing is missing. */
export function whyUnavailable(machine: Machine = thisMachine()): Lack | undefined {
  const { platform, arch } = machine
  if (platform !== "linux" || !architectureOf(arch)) {
    return {
      code: "engine-platform",
      reason: `Programs can be run in a pod on Linux (x86-64, arm64), this is ${platform} on ${arch}`,
      next: alternatives,
    }
  }
  return kernelTooOld(machine.release) ?? noNotification(machine) ?? yama(machine) ?? noMemory()
}

/** The best way this machine offers; of use where nothing is lacking. */
export function rungHere(machine: Machine = thisMachine()): Rung {
  return { descriptors: canFetchDescriptors() ? "fetched" : "held", userNamespace: ptraceScope(machine) >= onlyTracers }
}

/** @param version as `uname -r` prints it */
export function kernelTooOld(version: string): Lack | undefined {
  if (isKernelAtLeast(version, oldestKernel)) return undefined
  return {
    code: "engine-kernel-too-old",
    reason: `The kernel is ${version}, at least ${oldestKernel.join(".")} is needed`,
    next: `Update the kernel. ${alternatives}`,
  }
}

function noNotification({ textOf }: Machine): Lack | undefined {
  const actions = textOf("/proc/sys/kernel/seccomp/actions_avail")
  if (actions?.split(/\s+/).includes("user_notif")) return undefined
  return {
    code: "engine-no-seccomp",
    reason: "The kernel offers no seccomp user notification",
    next: `Use a kernel with CONFIG_SECCOMP_FILTER; in a sandbox, use another one. ${alternatives}`,
  }
}

function yama(machine: Machine): Lack | undefined {
  const scope = ptraceScope(machine)
  if (scope < onlyTracers || (scope < nobody && machine.userNamespaces())) return undefined
  return {
    code: "engine-ptrace-scope",
    reason: `kernel.yama.ptrace_scope is ${scope}: no process may look into its own children`,
    next:
      scope < nobody
        ? "Set it to 1 (`sudo sysctl kernel.yama.ptrace_scope=1`), or allow user namespaces to ordinary users."
        : `It can only be lowered by a restart of the machine. ${alternatives}`,
  }
}

/** The scope as it concerns this process: 0 for those who may trace anyway. */
function ptraceScope(machine: Machine): number {
  const scope = Number(machine.textOf("/proc/sys/kernel/yama/ptrace_scope") ?? 0)
  return scope < nobody && mayTrace(machine) ? 0 : scope
}

function mayTrace({ textOf }: Machine): boolean {
  const effective = /^CapEff:\s*([0-9a-f]+)/m.exec(textOf("/proc/self/status") ?? "")?.[1] ?? "0"
  return (BigInt(`0x${effective}`) & (1n << CAP_SYS_PTRACE)) !== 0n
}

/** A sandbox may refuse to read a child's memory, which nothing can replace. */
function noMemory(): Lack | undefined {
  const bytes = Buffer.from(new ArrayBuffer(8))
  const count = peek(process.pid, addressOf(bytes), Buffer.from(new ArrayBuffer(8)))
  if (count > 0) return undefined
  return {
    code: "engine-no-memory-access",
    reason: `The memory of a child cannot be read: process_vm_readv is refused (${errnoName(count)})`,
    next: `In a container, add the capability SYS_PTRACE or allow process_vm_readv in its seccomp profile. ${alternatives}`,
  }
}

function textOf(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8").trim()
  } catch {
    return undefined
  }
}
