import { check, errno, LinuxError } from "../../core/linux/errno.ts"
import { syscall } from "../../core/linux/syscall.ts"
import type { SeekFrom, Timespec } from "../../core/protocol/index.ts"

/** One read returns at most this, so that its answer fits every carrier; programs read on after a short read. */
const maxReadBytes = 4 * 1024 * 1024
const maxOffset = 0x7fff_ffff_ffff_ffffn
const seekWhence = { Start: 0, Current: 1, End: 2 } as const

/** Reads land here first, so that a large buffer for a small file costs nothing. */
let scratch = Buffer.allocUnsafeSlow(128 * 1024)

/** One read(2), or pread(2) when a position is given. @throws LinuxError */
export function readContent(fd: number, bufferBytes: bigint, position?: bigint): Buffer {
  const length = Number(bufferBytes < maxReadBytes ? bufferBytes : maxReadBytes)
  if (length > scratch.length) scratch = Buffer.allocUnsafeSlow(length)
  const count =
    position === undefined
      ? syscall("read", fd, scratch, length)
      : syscall("pread64", fd, scratch, length, offset(position))
  return Buffer.from(scratch.subarray(0, check(count, "read")))
}

/** One write(2), or pwrite(2) when a position is given; the number of bytes taken. @throws LinuxError */
export function writeContent(fd: number, content: Uint8Array, position?: bigint): bigint {
  const count =
    position === undefined
      ? syscall("write", fd, content, content.length)
      : syscall("pwrite64", fd, content, content.length, offset(position))
  return BigInt(check(count, "write"))
}

/** The new position from the start. @throws LinuxError */
export function seekContent(fd: number, from: SeekFrom): bigint {
  if (from.kind === "Start") offset(from.value)
  return BigInt(check(syscall("lseek", fd, from.value, seekWhence[from.kind]), "seek"))
}

/** Access and modification time; null means now. @throws LinuxError */
export function setTimes(fd: number, times: readonly [Timespec, Timespec] | null): void {
  const pair = times && BigInt64Array.from(times.flatMap(({ tvSec, tvNsec }) => [tvSec, tvNsec]))
  check(syscall("utimensat", fd, null, pair, 0), "utimens")
}

function offset(position: bigint): bigint {
  if (position > maxOffset) throw new LinuxError(errno.EINVAL, "position out of range")
  return position
}
