import { cString, syscall } from "../../../core/linux/syscall.ts"

const AT_FDCWD = -100
const STATX_TYPE = 0x1
const STATX_INO = 0x100
const S_IFMT = 0o170000
const S_IFSOCK = 0o140000
const stat = Buffer.alloc(256)

/** Inode of a socket a path of /proc leads to; undefined for everything else, and where the number has more than 32 bits. */
export function socketInode(path: string): number | undefined {
  // struct statx: mode u16 at 28.
  if (syscall("statx", AT_FDCWD, cString(path), 0, STATX_INO | STATX_TYPE, stat) < 0) return undefined
  const isSocket = (stat.readUInt16LE(28) & S_IFMT) === S_IFSOCK
  return isSocket && stat.readUInt32LE(36) === 0 ? stat.readUInt32LE(32) : undefined
}

/** Device and inode of what a path leads to, the same for every descriptor of a file or socket; undefined: nothing there. */
export function fileIdentity(path: string): string | undefined {
  // struct statx: ino u64 at 32, dev_major u32 at 136, dev_minor u32 at 140.
  if (syscall("statx", AT_FDCWD, cString(path), 0, STATX_INO, stat) < 0) return undefined
  return `${stat.readUInt32LE(136)}:${stat.readUInt32LE(140)}:${stat.readBigUInt64LE(32)}`
}
