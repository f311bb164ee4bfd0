import { constants } from "node:fs"
import { check, errno, LinuxError } from "./errno.ts"
import { cString, syscall } from "./syscall.ts"

/** Flags of open(2); those that differ between processors come from the runtime. */
export const openFlag = {
  readOnly: 0,
  writeOnly: 1,
  readWrite: 2,
  create: 0o100,
  exclusive: 0o200,
  noControllingTerminal: 0o400,
  truncate: 0o1000,
  append: 0o2000,
  nonBlocking: 0o4000,
  directory: constants.O_DIRECTORY,
  noFollow: constants.O_NOFOLLOW,
  closeOnExec: 0o2000000,
  /** Names a file without opening its content; enough for stat, access, readlink and for folders to work below. */
  path: 0o10000000,
} as const

const F_GETFL = 3
const F_DUPFD_CLOEXEC = 1030

/** How a descriptor was opened, with what was changed since (`openFlag`). @throws LinuxError */
export const statusFlags = (fd: number): number => check(syscall("fcntl", fd, F_GETFL, 0), "fcntl")

/** A second descriptor of the same open file, which children do not inherit; a negative errno when there can be none. */
export const tryDuplicate = (fd: number): number => syscall("fcntl", fd, F_DUPFD_CLOEXEC, 3)

/** @throws LinuxError */
export const duplicate = (fd: number): number => check(tryDuplicate(fd), "copy a descriptor")

const RESOLVE_NO_MAGICLINKS = 0x02n
const RESOLVE_IN_ROOT = 0x10n
/** struct open_how: flags u64, mode u64, resolve u64. */
const openHowBytes = 24
/** The kernel gives up with EAGAIN when a rename races with `..`; a few attempts are enough in practice. */
const attempts = 16

/**
 * Opens a path as a process whose root folder is `rootFd` would: links, absolute links and `..` stay below it however
 * they are changed meanwhile, and links of /proc that lead to other processes' files are refused (ELOOP).
 * `mode` counts only with `openFlag.create`. A negative `rootFd` is the errno of a root folder that could not be opened: it is the answer
 * to everything. The caller closes the descriptor. @throws LinuxError
 */
export function openBelow(rootFd: number, path: string, flags: number, mode = 0): number {
  if (rootFd < 0) throw new LinuxError(rootFd, "open the root folder")
  const how = Buffer.alloc(openHowBytes)
  how.writeBigUInt64LE(BigInt(flags | openFlag.closeOnExec), 0)
  how.writeBigUInt64LE(BigInt(flags & openFlag.create ? mode : 0), 8)
  how.writeBigUInt64LE(RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS, 16)
  const name = pathBytes(path)
  for (let attempt = 1; ; attempt++) {
    const fd = syscall("openat2", rootFd, name, how, openHowBytes)
    if (fd !== -errno.EAGAIN || attempt === attempts) return check(fd, "open")
  }
}

/** Runs `use` with a descriptor from `openBelow` and closes it. @throws LinuxError */
export function withOpenBelow<T>(rootFd: number, path: string, flags: number, use: (fd: number) => T): T {
  const fd = openBelow(rootFd, path, flags)
  try {
    return use(fd)
  } finally {
    syscall("close", fd)
  }
}

/**
 * Runs `use` with the folder that holds the last name of `path`, and that name. The calls that take both (mkdirat,
 * unlinkat, renameat2) never follow a link in the last place. @throws LinuxError
 */
export function inParent<T>(rootFd: number, path: string, use: (folderFd: number, name: Buffer) => T): T {
  const [, parent = "", name = ""] = /^(.*?)([^/]*\/*)$/s.exec(path) ?? []
  const flags = openFlag.path | openFlag.directory
  return withOpenBelow(rootFd, parent || ".", flags, (folderFd) => use(folderFd, pathBytes(name || ".")))
}

/** A NUL inside would cut the path short, so it is refused. */
function pathBytes(path: string): Buffer {
  if (path.includes("\0")) throw new LinuxError(errno.EINVAL, "path with a NUL byte")
  return cString(path)
}
