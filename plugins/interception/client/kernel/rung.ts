import { spawnSync } from "node:child_process"
import { syscall } from "../../../../core/linux/syscall.ts"

/**
 * How the engine gets at a program on this machine. The first is taken that works:
 *
 * | descriptors | user namespace | where |
 * |---|---|---|
 * | fetched | no | anywhere else |
 * | held | no | pidfd_getfd is refused, as by the default profile of container runtimes: sockets are made by the engine |
 * | either | yes | ptrace_scope 2: whoever made a user namespace may look into the processes in it |
 */
export interface Rung {
  descriptors: "fetched" | "held"
  userNamespace: boolean
}

let fetchable: boolean | undefined

/** Whether the kernel has pidfd_getfd and no filter refuses it; whether a certain process may be looked into is another question. */
export function canFetchDescriptors(): boolean {
  fetchable ??= tryFetch()
  return fetchable
}

function tryFetch(): boolean {
  const pidfd = syscall("pidfd_open", process.pid, 0)
  const copy = pidfd < 0 ? pidfd : syscall("pidfd_getfd", pidfd, pidfd, 0)
  for (const fd of [pidfd, copy]) if (fd >= 0) syscall("close", fd)
  return copy >= 0
}

/** Words that start a program in a user namespace of its own, as the user it would be without. */
export const inUserNamespace = ["unshare", "--user", "--map-current-user", "--"]

export function canMakeUserNamespaces(): boolean {
  const [program, ...args] = inUserNamespace
  return spawnSync(program!, [...args, "true"], { stdio: "ignore" }).status === 0
}

/** What works less well than on other machines, as a sentence; undefined on the first rung. */
export function restrictionOf({ descriptors, userNamespace }: Rung): string | undefined {
  const parts = [
    descriptors === "held"
      ? "descriptors of programs cannot be fetched (pidfd_getfd is refused), so the engine makes their sockets itself; " +
        "sockets a program did not open by itself stay on this machine"
      : "",
    userNamespace
      ? "kernel.yama.ptrace_scope is 2, so programs run in a user namespace; files of other users look as if owned by nobody"
      : "",
  ].filter((part) => part !== "")
  return parts.length === 0 ? undefined : parts.join("; and ")
}

/** @param version as `uname -r` prints it */
export function isKernelAtLeast(version: string, needed: readonly [major: number, minor: number]): boolean {
  const [major = 0, minor = 0] = version.split(".").map((part) => Number.parseInt(part, 10) || 0)
  return major > needed[0] || (major === needed[0] && minor >= needed[1])
}
