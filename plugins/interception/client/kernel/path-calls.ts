import type { FileIntent } from "../../../../core/client/engine.ts"
import type { CallName } from "./abi.ts"
import { AT_FDCWD } from "./rules.ts"

/** Where a call keeps its path, and what it wants with it. A call on two paths has two of these. */
export interface PathArgument {
  /** Argument with the directory descriptor; absent: the working directory. */
  dir?: number
  path: number
  intent: FileIntent | { openFlags: number } | { accessMode: number }
}

const read = "read"
const write = "write"

/** Calls on one path. */
export const pathCalls: ReadonlyMap<CallName, PathArgument> = new Map<CallName, PathArgument>([
  ["open", { path: 0, intent: { openFlags: 1 } }],
  ["openat", { dir: 0, path: 1, intent: { openFlags: 2 } }],
  ["creat", { path: 0, intent: write }],
  ["stat", { path: 0, intent: read }],
  ["lstat", { path: 0, intent: read }],
  ["newfstatat", { dir: 0, path: 1, intent: read }],
  ["statx", { dir: 0, path: 1, intent: read }],
  ["access", { path: 0, intent: { accessMode: 1 } }],
  ["faccessat", { dir: 0, path: 1, intent: { accessMode: 2 } }],
  ["faccessat2", { dir: 0, path: 1, intent: { accessMode: 2 } }],
  ["readlink", { path: 0, intent: read }],
  ["readlinkat", { dir: 0, path: 1, intent: read }],
  ["statfs", { path: 0, intent: read }],
  ["chdir", { path: 0, intent: read }],
  ["mkdir", { path: 0, intent: write }],
  ["mkdirat", { dir: 0, path: 1, intent: write }],
  ["rmdir", { path: 0, intent: write }],
  ["unlink", { path: 0, intent: write }],
  ["unlinkat", { dir: 0, path: 1, intent: write }],
  ["truncate", { path: 0, intent: write }],
  ["chmod", { path: 0, intent: write }],
  ["fchmodat", { dir: 0, path: 1, intent: write }],
  ["fchmodat2", { dir: 0, path: 1, intent: write }],
  ["chown", { path: 0, intent: write }],
  ["lchown", { path: 0, intent: write }],
  ["fchownat", { dir: 0, path: 1, intent: write }],
  ["utime", { path: 0, intent: write }],
  ["utimes", { path: 0, intent: write }],
  ["futimesat", { dir: 0, path: 1, intent: write }],
  ["utimensat", { dir: 0, path: 1, intent: write }],
  ["mknod", { path: 0, intent: write }],
  ["mknodat", { dir: 0, path: 1, intent: write }],
  ["symlink", { path: 1, intent: write }],
  ["symlinkat", { dir: 1, path: 2, intent: write }],
  ["inotify_add_watch", { path: 1, intent: read }],
  ["getxattr", { path: 0, intent: read }],
  ["lgetxattr", { path: 0, intent: read }],
  ["listxattr", { path: 0, intent: read }],
  ["llistxattr", { path: 0, intent: read }],
  ["setxattr", { path: 0, intent: write }],
  ["lsetxattr", { path: 0, intent: write }],
  ["removexattr", { path: 0, intent: write }],
  ["lremovexattr", { path: 0, intent: write }],
])

/** Calls on two paths, the existing one first. A rename counts as a write here, unlike in mirrord's mode `read`. */
export const twoPathCalls: ReadonlyMap<CallName, readonly [PathArgument, PathArgument]> = new Map([
  [
    "rename",
    [
      { path: 0, intent: write },
      { path: 1, intent: write },
    ],
  ],
  [
    "renameat",
    [
      { dir: 0, path: 1, intent: write },
      { dir: 2, path: 3, intent: write },
    ],
  ],
  [
    "renameat2",
    [
      { dir: 0, path: 1, intent: write },
      { dir: 2, path: 3, intent: write },
    ],
  ],
  [
    "link",
    [
      { path: 0, intent: write },
      { path: 1, intent: write },
    ],
  ],
  [
    "linkat",
    [
      { dir: 0, path: 1, intent: write },
      { dir: 2, path: 3, intent: write },
    ],
  ],
])

const O_ACCMODE = 3
export const O_CREAT = 0o100
export const O_EXCL = 0o200
export const O_TRUNC = 0o1000
export const O_APPEND = 0o2000
const writingFlags = O_ACCMODE | O_CREAT | O_TRUNC | O_APPEND
const W_OK = 2

export function openIntent(flags: number): FileIntent {
  return (flags & writingFlags) === 0 ? read : write
}

/** Intent of a call, given a way to its `int` arguments. */
export function intentOf(argument: PathArgument, int: (index: number) => number): FileIntent {
  const { intent } = argument
  if (typeof intent === "string") return intent
  if ("openFlags" in intent) return openIntent(int(intent.openFlags))
  return (int(intent.accessMode) & W_OK) === 0 ? read : write
}

/** The directory descriptor a relative path belongs to. */
export function directoryOf(argument: PathArgument, int: (index: number) => number): number {
  return argument.dir === undefined ? AT_FDCWD : int(argument.dir)
}
