import { check, errno, LinuxError } from "../../../../core/linux/errno.ts"
import { addressOf, cString, syscall } from "../../../../core/linux/syscall.ts"
import { socketInode } from "./file-identity.ts"
import { heldDescriptors } from "./held-descriptors.ts"
import { Pidfds } from "./pidfds.ts"
import { canFetchDescriptors } from "./rung.ts"

const pageBytes = 4096n
/** Linux' PATH_MAX, the final NUL included. */
export const pathBytes = 4096
/** Linux' UIO_MAXIOV. */
export const maxVectors = 1024
/** Threads whose descriptors are fetched for each of their calls again. */
const threads = new Pidfds()

// Over buffers of their own: memory of a plain small array may move once somebody asks for its buffer.
const local = new BigUint64Array(new ArrayBuffer(32))
const localAt = addressOf(local)
const remote = new BigUint64Array(new ArrayBuffer(32))
const remoteAt = addressOf(remote)

/** A stretch of the program's memory. */
export interface Vector {
  address: bigint
  length: number
}

/**
 * Reads up to `into.length` bytes of a thread's memory. Fewer come when it ends before that.
 * Returns the count or a negative errno. The range is split at the first page border: a read stops between two pieces.
 */
export function peek(tid: number, address: bigint, into: Uint8Array, length = into.length): number {
  local[0] = addressOf(into)
  local[1] = BigInt(length)
  const total = BigInt(length)
  const first = pageBytes - (address & (pageBytes - 1n))
  remote[0] = address
  remote[1] = first < total ? first : total
  remote[2] = address + first
  remote[3] = total - first
  return syscall("process_vm_readv", tid, localAt, 1, remoteAt, first < total ? 2 : 1, 0)
}

/** Exactly `length` bytes. @throws LinuxError EFAULT (or EPERM, ESRCH) */
export function readMemory(tid: number, address: bigint, length: number): Buffer {
  const bytes = Buffer.alloc(length)
  if (length === 0) return bytes
  const count = peek(tid, address, bytes)
  if (count < 0) throw new LinuxError(count, "read the program's memory")
  if (count < length) throw new LinuxError(errno.EFAULT, "read the program's memory")
  return bytes
}

/** @throws LinuxError EFAULT when not all of it can be written */
export function writeMemory(tid: number, address: bigint, bytes: Uint8Array): void {
  if (bytes.length === 0) return
  local[0] = addressOf(bytes)
  local[1] = BigInt(bytes.length)
  remote[0] = address
  remote[1] = BigInt(bytes.length)
  const count = syscall("process_vm_writev", tid, localAt, 1, remoteAt, 1, 0)
  if (count < 0) throw new LinuxError(count, "write the program's memory")
  if (count < bytes.length) throw new LinuxError(errno.EFAULT, "write the program's memory")
}

/** Two writes in one call. @throws LinuxError EFAULT when not all of it can be written */
export function writeBoth(
  tid: number,
  first: bigint,
  firstBytes: Uint8Array,
  second: bigint,
  secondBytes: Uint8Array,
): void {
  if (firstBytes.length === 0) {
    writeMemory(tid, second, secondBytes)
    return
  }
  local[0] = addressOf(firstBytes)
  local[1] = remote[1] = BigInt(firstBytes.length)
  local[2] = addressOf(secondBytes)
  local[3] = remote[3] = BigInt(secondBytes.length)
  remote[0] = first
  remote[2] = second
  const count = syscall("process_vm_writev", tid, localAt, 2, remoteAt, 2, 0)
  if (count < 0) throw new LinuxError(count, "write the program's memory")
  if (count < firstBytes.length + secondBytes.length) throw new LinuxError(errno.EFAULT, "write the program's memory")
}

const pathBuffer = Buffer.from(new ArrayBuffer(pathBytes))

/**
 * A NUL-terminated string as bytes (valid until the next call), or a negative errno: EFAULT, ENAMETOOLONG, EPERM.
 * Most strings are short, so the first try reads little.
 */
export function peekString(tid: number, address: bigint): Uint8Array | number {
  for (const length of [256, pathBytes]) {
    const count = peek(tid, address, pathBuffer, length)
    if (count < 0) return count
    const end = pathBuffer.indexOf(0)
    if (end >= 0 && end < count) return pathBuffer.subarray(0, end)
    if (count < length) return -errno.EFAULT
  }
  return -errno.ENAMETOOLONG
}

/** The program's struct iovec array, clamped to `maxBytes` in all. @throws LinuxError EINVAL, EFAULT */
export function readVectors(tid: number, address: bigint, count: number, maxBytes: number): Vector[] {
  if (count < 0 || count > maxVectors) throw new LinuxError(errno.EINVAL, "read a vector")
  const bytes = readMemory(tid, address, count * 16)
  const vectors: Vector[] = []
  let left = maxBytes
  for (let index = 0; index < count && left > 0; index++) {
    const length = Number(bytes.readBigUInt64LE(index * 16 + 8))
    const taken = Math.min(length, left)
    if (taken > 0) vectors.push({ address: bytes.readBigUInt64LE(index * 16), length: taken })
    left -= taken
  }
  return vectors
}

export function vectorBytes(vectors: readonly Vector[]): number {
  return vectors.reduce((sum, { length }) => sum + length, 0)
}

/** @throws LinuxError EFAULT */
export function gather(tid: number, vectors: readonly Vector[]): Buffer {
  return Buffer.concat(vectors.map(({ address, length }) => readMemory(tid, address, length)))
}

/** Writes `bytes` over the vectors in order; what does not fit is left out. @throws LinuxError EFAULT */
export function scatter(tid: number, vectors: readonly Vector[], bytes: Uint8Array): void {
  let at = 0
  for (const { address, length } of vectors) {
    if (at >= bytes.length) return
    writeMemory(tid, address, bytes.subarray(at, at + length))
    at += length
  }
}

/** Our own copy of the thread's descriptor, the same open file; the caller closes it. @throws LinuxError EBADF, ...; NotHeld */
export function fetchDescriptor(tid: number, fd: number): number {
  if (!canFetchDescriptors()) return heldDescriptors.copy(tid, fd)
  return check(threads.fetch(tid, fd), "fetch a descriptor of the program")
}

/** As `fetchDescriptor`, for where descriptors can be fetched: a copy or a negative errno. */
export function tryFetchDescriptor(tid: number, fd: number): number {
  return threads.fetch(tid, fd)
}

/** Whether the thread has no descriptor of this number. */
export function isFree(tid: number, number: number): boolean {
  if (!canFetchDescriptors()) return typeof readLink(`/proc/${tid}/fd/${number}`) === "number"
  const copy = threads.fetch(tid, number)
  if (copy >= 0) syscall("close", copy)
  return copy < 0
}

/** Inode of the socket a thread has as this descriptor; undefined for everything else. */
export function socketInodeOf(tid: number, fd: number): number | undefined {
  if (!canFetchDescriptors()) return socketInode(`/proc/${tid}/fd/${fd}`)
  const copy = threads.fetch(tid, fd)
  if (copy < 0) return undefined
  const inode = socketInode(copy)
  syscall("close", copy)
  return inode
}

/** Runs `use` with a copy of the descriptor that lives no longer than the call. */
export function withDescriptor<T>(tid: number, fd: number, use: (copy: number) => T): T {
  const copy = fetchDescriptor(tid, fd)
  try {
    return use(copy)
  } finally {
    syscall("close", copy)
  }
}

/** Lets go of everything kept to look into programs sooner; to be called when one has ended. */
export function forgetThreads(): void {
  threads.clear()
}

const linkBuffer = Buffer.alloc(512)

/** Target of a link such as /proc/TID/fd/N, or a negative errno. */
export function readLink(path: string): string | number {
  const count = syscall("readlinkat", -100, cString(path), linkBuffer, linkBuffer.length)
  return count < 0 ? count : linkBuffer.toString("utf8", 0, count)
}

/** The position of an open file; shared by all copies of a descriptor. @throws LinuxError */
export function positionOf(fd: number): number {
  return check(syscall("lseek", fd, 0, 1), "lseek")
}
