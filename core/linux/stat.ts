import { check } from "./errno.ts"
import { cString, syscall } from "./syscall.ts"

const AT_EMPTY_PATH = 0x1000
const STATX_TYPE = 0x1
/** STATX_BASIC_STATS */
const basicFields = 0x7ff
const noName = cString("")

/** What stat(2) tells; times in nanoseconds since 1970. */
export interface FileStat {
  dev: bigint
  ino: bigint
  mode: number
  nlink: number
  uid: number
  gid: number
  rdev: bigint
  size: bigint
  blksize: number
  /** Of 512 bytes. */
  blocks: bigint
  atimeNs: bigint
  mtimeNs: bigint
  ctimeNs: bigint
}

/**
 * struct statx: blksize u32 at 4, nlink u32 16, uid u32 20, gid u32 24, mode u16 28, ino u64 32, size u64 40,
 * blocks u64 48, then times (seconds i64, nanoseconds u32, 4 unused): atime 64, btime 80, ctime 96, mtime 112;
 * rdev major and minor u32 128, dev major and minor u32 136. 256 bytes in all.
 */
const buffer = Buffer.alloc(256)

/** Of any descriptor, also one that only names a file. @throws LinuxError */
export function statFd(fd: number): FileStat {
  check(syscall("statx", fd, noName, AT_EMPTY_PATH, basicFields, buffer), "stat")
  return {
    dev: deviceNumber(buffer.readUInt32LE(136), buffer.readUInt32LE(140)),
    ino: buffer.readBigUInt64LE(32),
    mode: buffer.readUInt16LE(28),
    nlink: buffer.readUInt32LE(16),
    uid: buffer.readUInt32LE(20),
    gid: buffer.readUInt32LE(24),
    rdev: deviceNumber(buffer.readUInt32LE(128), buffer.readUInt32LE(132)),
    size: buffer.readBigUInt64LE(40),
    blksize: buffer.readUInt32LE(4),
    blocks: buffer.readBigUInt64LE(48),
    atimeNs: nanoseconds(64),
    mtimeNs: nanoseconds(112),
    ctimeNs: nanoseconds(96),
  }
}

const typeMask = 0o170000
const isDirectoryMode = (mode: number) => (mode & typeMask) === 0o040000

/** What a descriptor stands for, and nothing else about it. @throws LinuxError */
export function isDirectoryFd(fd: number): boolean {
  check(syscall("statx", fd, noName, AT_EMPTY_PATH, STATX_TYPE, buffer), "stat")
  return isDirectoryMode(buffer.readUInt16LE(28))
}

/** As glibc's makedev. */
function deviceNumber(major: number, minor: number): bigint {
  const high = ((BigInt(major) & ~0xfffn) << 32n) | ((BigInt(minor) & ~0xffn) << 12n)
  return high | BigInt(((major & 0xfff) << 8) | (minor & 0xff))
}

function nanoseconds(offset: number): bigint {
  return buffer.readBigInt64LE(offset) * 1_000_000_000n + BigInt(buffer.readUInt32LE(offset + 8))
}

/** What statfs(2) tells; sizes in blocks. */
export interface FileSystemStat {
  type: bigint
  bsize: bigint
  blocks: bigint
  bfree: bigint
  bavail: bigint
  files: bigint
  ffree: bigint
  fsid: [number, number]
  namelen: bigint
  frsize: bigint
  flags: bigint
}

/** struct statfs on 64-bit Linux: i64 or u64 each, fsid two i32 at 56. 120 bytes. @throws LinuxError */
export function statFileSystem(fd: number): FileSystemStat {
  const raw = Buffer.alloc(120)
  check(syscall("fstatfs", fd, raw), "statfs")
  return {
    type: raw.readBigInt64LE(0),
    bsize: raw.readBigInt64LE(8),
    blocks: raw.readBigUInt64LE(16),
    bfree: raw.readBigUInt64LE(24),
    bavail: raw.readBigUInt64LE(32),
    files: raw.readBigUInt64LE(40),
    ffree: raw.readBigUInt64LE(48),
    fsid: [raw.readInt32LE(56), raw.readInt32LE(60)],
    namelen: raw.readBigInt64LE(64),
    frsize: raw.readBigInt64LE(72),
    flags: raw.readBigInt64LE(80),
  }
}
