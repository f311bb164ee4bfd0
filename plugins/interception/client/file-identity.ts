import { cString, syscall } from "../../../core/linux/syscall.ts"

const AT_FDCWD = -100
const STATX_INO = 0x100
const stat = Buffer.alloc(256)

/** Device and inode of what a path leads to, the same for every descriptor of a file or socket; undefined: nothing there. */
export function fileIdentity(path: string): string | undefined {
  // struct statx: ino u64 at 32, dev_major u32 at 136, dev_minor u32 at 140.
  if (syscall("statx", AT_FDCWD, cString(path), 0, STATX_INO, stat) < 0) return undefined
  return `${stat.readUInt32LE(136)}:${stat.readUInt32LE(140)}:${stat.readBigUInt64LE(32)}`
}
