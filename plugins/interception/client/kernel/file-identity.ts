import { cString, syscall } from "../../../../core/linux/syscall.ts"

const AT_FDCWD = -100
const AT_EMPTY_PATH = 0x1000
const STATX_TYPE = 0x1
const STATX_INO = 0x100
const S_IFMT = 0o170000
const S_IFSOCK = 0o140000
const S_IFIFO = 0o010000
// struct statx: mode u16 at 28, ino u64 at 32, dev_major u32 at 136, dev_minor u32 at 140.
const stat = Buffer.alloc(256)
const noPath = cString("")

/** A descriptor of this process, or a path such as those of /proc, which costs ten times as much. */
type Place = number | string

/** Inode of a socket; undefined for everything else, and where the number has more than 32 bits. */
export function socketInode(place: Place): number | undefined {
  if (!look(place)) return undefined
  const isSocket = (stat.readUInt16LE(28) & S_IFMT) === S_IFSOCK
  return isSocket && stat.readUInt32LE(36) === 0 ? stat.readUInt32LE(32) : undefined
}

export function isPipe(place: Place): boolean {
  return look(place) && (stat.readUInt16LE(28) & S_IFMT) === S_IFIFO
}

/** Device and inode, the same for every descriptor of a file or socket; undefined: nothing there. */
export function fileIdentity(place: Place): string | undefined {
  if (!look(place)) return undefined
  return `${stat.readUInt32LE(136)}:${stat.readUInt32LE(140)}:${stat.readUInt32LE(36)}:${stat.readUInt32LE(32)}`
}

function look(place: Place): boolean {
  const result =
    typeof place === "number"
      ? syscall("statx", place, noPath, AT_EMPTY_PATH, STATX_INO | STATX_TYPE, stat)
      : syscall("statx", AT_FDCWD, cString(place), 0, STATX_INO | STATX_TYPE, stat)
  return result === 0
}
