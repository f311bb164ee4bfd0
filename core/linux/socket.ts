import { check } from "./errno.ts"
import { decodeEndpoint, type Endpoint } from "./socket-address.ts"
import { syscall } from "./syscall.ts"

export const SOCK_STREAM = 1
export const SOCK_DGRAM = 2
export const SOCK_SEQPACKET = 5
const SOCK_NONBLOCK = 0o4000
const SOCK_CLOEXEC = 0o2000000

export const SOL_SOCKET = 1
export const SO_MARK = 36
const SO_ERROR = 4
/** struct sockaddr_storage */
const addressBytes = 128

/** A non-blocking socket that children do not inherit; the caller closes it. @throws LinuxError */
export function openSocket(family: number, type: number, protocol = 0): number {
  return check(syscall("socket", family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, protocol), "socket")
}

/** Sets an integer option. @throws LinuxError */
export function setSocketOption(fd: number, level: number, option: number, value: number): void {
  const bytes = Buffer.alloc(4)
  bytes.writeInt32LE(value)
  check(syscall("setsockopt", fd, level, option, bytes, 4), "setsockopt")
}

const intValue = Buffer.from(new ArrayBuffer(4))
const intSize = Buffer.from(new ArrayBuffer(4))

/** An option that is an integer. @throws LinuxError */
export function getIntOption(fd: number, level: number, option: number): number {
  intSize.writeUInt32LE(4)
  check(syscall("getsockopt", fd, level, option, intValue, intSize), "getsockopt")
  return intValue.readInt32LE(0)
}

/** Bytes of an option, at most `length` of them. @throws LinuxError */
export function getSocketOption(fd: number, level: number, option: number, length: number): Buffer {
  const value = Buffer.alloc(length)
  const size = Buffer.alloc(4)
  size.writeUInt32LE(length)
  check(syscall("getsockopt", fd, level, option, value, size), "getsockopt")
  return value.subarray(0, size.readUInt32LE(0))
}

/** Takes (and clears) the pending error of a socket: a positive errno, or 0. */
export function pendingError(fd: number): number {
  return getIntOption(fd, SOL_SOCKET, SO_ERROR)
}

/** Own address of an IP socket; undefined for other families. @throws LinuxError */
export function localEndpoint(fd: number): Endpoint | undefined {
  const address = Buffer.alloc(addressBytes)
  const size = Buffer.alloc(4)
  size.writeUInt32LE(addressBytes)
  check(syscall("getsockname", fd, address, size), "getsockname")
  return decodeEndpoint(address.subarray(0, size.readUInt32LE(0)))
}
