import type { World } from "../../../../core/client/engine.ts"
import { errno } from "../../../../core/linux/errno.ts"
import { AF_INET, AF_INET6, AF_UNIX } from "../../../../core/linux/socket-address.ts"
import type { CallName } from "./abi.ts"
import { always, type Rule } from "./filter.ts"
import type { Rung } from "./rung.ts"

/**
 * Where descriptors of remote files are put, so that the filter can tell them from all others by their number.
 * `ready`: whole files, read without the engine; `live`: everything where reading or writing concerns the engine.
 */
export interface DescriptorRanges {
  readyFrom: number
  liveFrom: number
  /** Exclusive. */
  end: number
}

/** Which parts of a world there are; a call no part cares about is not watched at all. */
export type Parts = { [part in keyof World]-?: boolean } & { accepts: boolean }

export function partsOf(world: World): Parts {
  return {
    files: world.files !== undefined,
    dns: world.dns !== undefined,
    outgoing: world.outgoing !== undefined,
    incoming: world.incoming !== undefined,
    accepts: world.incoming !== undefined && !world.incoming.isOff,
    hostname: world.hostname !== undefined,
    withoutIpv6: world.withoutIpv6 ?? false,
  }
}

export const AT_FDCWD = -100
export const AT_EMPTY_PATH = 0x1000
const F_DUPFD = 0
const F_DUPFD_CLOEXEC = 1030
export const SOL_SOCKET = 1
export const SO_ERROR = 4
const SO_BINDTODEVICE = 25

/**
 * Picks the ranges below the program's limit of open files. They stay below 1024 when the limit does, because programs
 * with that limit may use select(2); a larger limit moves them out of the way of busy servers.
 */
export function descriptorRanges(openFileLimit: number): DescriptorRanges {
  const end = openFileLimit >= 16_384 ? 16_384 : Math.min(openFileLimit, 1024)
  return { readyFrom: end >> 1, liveFrom: (end >> 1) + (end >> 2), end }
}

/** Calls answered without asking anybody: io_uring would be a way around every other rule. */
export const refusedCalls: ReadonlyMap<CallName, number> = new Map([["io_uring_setup", errno.ENOSYS]])

/** `descriptors`: whether those of programs can be fetched later, or are held from the beginning. */
export function watchRules(
  parts: Parts,
  { readyFrom, liveFrom, end }: DescriptorRanges,
  descriptors: Rung["descriptors"] = "fetched",
): Map<CallName, Rule> {
  const rules = new Map<CallName, Rule>()
  const remote = (...args: number[]): Rule => args.map((arg) => [{ arg, from: readyFrom, to: end }])
  const live = (...args: number[]): Rule => args.map((arg) => [{ arg, from: liveFrom, to: end }])
  const set = (rule: Rule, ...names: CallName[]) => {
    for (const name of names) rules.set(name, rule)
  }
  const network = parts.outgoing || parts.dns

  if (parts.files) {
    set(live(0), "read", "write", "lseek", "readv", "writev", "pread64", "pwrite64")
    set(live(4), "mmap")
    set(live(0), "preadv", "pwritev", "preadv2", "pwritev2")
    set(live(0, 1), "sendfile")
    set(live(0, 2), "copy_file_range", "splice")
    set(live(0), "fsync", "fdatasync")
    set(always, "msync")
    set(remote(0), "fstat", "dup", "dup2", "dup3", "getdents64")
    set(
      [F_DUPFD, F_DUPFD_CLOEXEC].map((equals) => [
        { arg: 1, equals },
        { arg: 0, from: readyFrom, to: end },
      ]),
      "fcntl",
    )
    set(remote(0), "ftruncate", "fallocate", "fchmod", "fchown", "fstatfs")
  }
  if (parts.files || parts.dns) {
    // fstat(3) of newer C libraries is newfstatat(fd, "", AT_EMPTY_PATH): of no interest for ordinary descriptors.
    const pathOrRemote = (flags: number): Rule => [
      [{ arg: flags, without: AT_EMPTY_PATH }],
      [{ arg: 0, equals: AT_FDCWD }],
      [{ arg: 0, from: readyFrom, to: end }],
    ]
    set(pathOrRemote(3), "newfstatat")
    set(pathOrRemote(2), "statx")
    set(remote(0), "fstat")
    set(always, "open", "openat", "openat2", "stat", "lstat")
  }
  if (parts.files) {
    set(always, "creat", "access", "faccessat", "faccessat2", "readlink", "readlinkat", "statfs", "execve", "execveat")
    set(always, "chdir", "fchdir", "getcwd", "mkdir", "mkdirat", "rmdir", "unlink", "unlinkat")
    set(always, "rename", "renameat", "renameat2", "link", "linkat", "symlink", "symlinkat", "mknod", "mknodat")
    set(always, "truncate", "chmod", "fchmodat", "fchmodat2", "chown", "lchown", "fchownat")
    set(always, "utime", "utimes", "futimesat", "utimensat", "inotify_add_watch")
    set(
      always,
      "getxattr",
      "lgetxattr",
      "listxattr",
      "llistxattr",
      "setxattr",
      "lsetxattr",
      "removexattr",
      "lremovexattr",
    )
  }
  if (network) {
    set([[{ arg: 4, nonZero: true }]], "sendto", "recvfrom")
    set(always, "connect", "sendmsg", "sendmmsg", "recvmsg", "recvmmsg")
    set(
      [
        [
          { arg: 1, equals: SOL_SOCKET },
          { arg: 2, equals: SO_ERROR },
        ],
      ],
      "getsockopt",
    )
    set(
      [
        [
          { arg: 1, equals: SOL_SOCKET },
          { arg: 2, equals: SO_BINDTODEVICE },
        ],
      ],
      "setsockopt",
    )
  }
  if (network || parts.incoming) set(always, "getpeername", "getsockname")
  if (parts.accepts) set([[{ arg: 1, nonZero: true }]], "accept", "accept4")
  if (parts.incoming) set(always, "bind", "listen")
  if (parts.withoutIpv6) set([[{ arg: 0, equals: AF_INET6 }]], "socket")
  if (descriptors === "held") {
    const families = [AF_INET, AF_INET6, ...(parts.outgoing ? [AF_UNIX] : [])]
    if (network || parts.incoming)
      set(
        families.map((equals) => [{ arg: 0, equals }]),
        "socket",
      )
  }
  if (parts.hostname) set(always, "uname")
  set(always, "execve", "execveat")
  return rules
}
