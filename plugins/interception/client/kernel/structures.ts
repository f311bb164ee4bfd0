import type { RemoteDirEntry, RemoteStat, RemoteStatFs } from "../../../../core/client/engine.ts"
import type { StatLayout } from "./abi.ts"

const nanoseconds = 1_000_000_000n
export const S_IFMT = 0o170000
export const S_IFDIR = 0o040000
export const S_IFREG = 0o100000
export const S_IFLNK = 0o120000

export function isDirectory(stat: RemoteStat): boolean {
  return (stat.mode & S_IFMT) === S_IFDIR
}

/** struct stat of the architecture. */
export function encodeStat(layout: StatLayout, stat: RemoteStat): Buffer {
  const bytes = Buffer.alloc(layout.bytes)
  for (const [name, [offset, width]] of Object.entries(layout.fields)) {
    const field = BigInt(stat[name as keyof typeof layout.fields])
    if (width === 8) bytes.writeBigUInt64LE(BigInt.asUintN(64, field), offset)
    else bytes.writeUInt32LE(Number(BigInt.asUintN(32, field)), offset)
  }
  writeTime(bytes, layout.times.atime, stat.atimeNs)
  writeTime(bytes, layout.times.mtime, stat.mtimeNs)
  writeTime(bytes, layout.times.ctime, stat.ctimeNs)
  return bytes
}

const STATX_BASIC_STATS = 0x7ff

/**
 * struct statx (256 bytes): mask u32, blksize u32, attributes u64, nlink u32, uid u32, gid u32, mode u16, pad, ino u64 (32),
 * size u64, blocks u64, attributes_mask u64, atime (64), btime, ctime (96), mtime (112), rdev (128), dev (136).
 */
export function encodeStatx(stat: RemoteStat): Buffer {
  const bytes = Buffer.alloc(256)
  bytes.writeUInt32LE(STATX_BASIC_STATS, 0)
  bytes.writeUInt32LE(word(stat.blksize), 4)
  bytes.writeUInt32LE(word(stat.nlink), 16)
  bytes.writeUInt32LE(stat.uid >>> 0, 20)
  bytes.writeUInt32LE(stat.gid >>> 0, 24)
  bytes.writeUInt16LE(stat.mode & 0xffff, 28)
  bytes.writeBigUInt64LE(BigInt.asUintN(64, stat.ino), 32)
  bytes.writeBigUInt64LE(BigInt.asUintN(64, stat.size), 40)
  bytes.writeBigUInt64LE(BigInt.asUintN(64, stat.blocks), 48)
  writeTime(bytes, 64, stat.atimeNs)
  writeTime(bytes, 96, stat.ctimeNs)
  writeTime(bytes, 112, stat.mtimeNs)
  writeDevice(bytes, 128, stat.rdev)
  writeDevice(bytes, 136, stat.dev)
  return bytes
}

/** struct statfs (120 bytes), all fields 8 bytes wide but for the pair `fsid`. */
export function encodeStatFs(stat: RemoteStatFs): Buffer {
  const bytes = Buffer.alloc(120)
  const { type, bsize, blocks, bfree, bavail, files, ffree } = stat
  ;[type, bsize, blocks, bfree, bavail, files, ffree].forEach((field, index) => {
    bytes.writeBigUInt64LE(BigInt.asUintN(64, field), index * 8)
  })
  bytes.writeInt32LE(stat.fsid[0] | 0, 56)
  bytes.writeInt32LE(stat.fsid[1] | 0, 60)
  bytes.writeBigUInt64LE(BigInt.asUintN(64, stat.namelen), 64)
  bytes.writeBigUInt64LE(BigInt.asUintN(64, stat.frsize), 72)
  bytes.writeBigUInt64LE(BigInt.asUintN(64, stat.flags), 80)
  return bytes
}

/**
 * struct linux_dirent64 of as many entries as fit: ino u64, off i64, reclen u16, type u8, name with NUL, padded to 8.
 * `off` is the position of the entry after. `count` 0 with entries left means that not even one fits.
 */
export function encodeDirectoryEntries(
  entries: readonly RemoteDirEntry[],
  from: number,
  maxBytes: number,
): { bytes: Buffer; count: number } {
  const pieces: Buffer[] = []
  let total = 0
  for (let index = from; index < entries.length; index++) {
    const { name, ino, type } = entries[index]!
    const text = Buffer.from(name)
    const length = (19 + text.length + 1 + 7) & ~7
    if (total + length > maxBytes) break
    const piece = Buffer.alloc(length)
    piece.writeBigUInt64LE(BigInt.asUintN(64, ino), 0)
    piece.writeBigInt64LE(BigInt(index + 1), 8)
    piece.writeUInt16LE(length, 16)
    piece.writeUInt8(type & 0xff, 18)
    text.copy(piece, 19)
    pieces.push(piece)
    total += length
  }
  return { bytes: Buffer.concat(pieces), count: pieces.length }
}

function word(field: bigint): number {
  return Number(BigInt.asUintN(32, field))
}

function writeTime(bytes: Buffer, offset: number, time: bigint): void {
  let seconds = time / nanoseconds
  let rest = time % nanoseconds
  if (rest < 0n) {
    rest += nanoseconds
    seconds -= 1n
  }
  bytes.writeBigInt64LE(BigInt.asIntN(64, seconds), offset)
  bytes.writeUInt32LE(Number(rest), offset + 8)
}

/** The kernel's 64-bit device number, split as in linux/kdev_t.h (glibc's gnu_dev_major). */
function writeDevice(bytes: Buffer, offset: number, device: bigint): void {
  const major = ((device >> 8n) & 0xfffn) | ((device >> 32n) & 0xfffff000n)
  const minor = (device & 0xffn) | ((device >> 12n) & 0xffffff00n)
  bytes.writeUInt32LE(word(major), offset)
  bytes.writeUInt32LE(word(minor), offset + 4)
}
