import type { Endpoint } from "../../../../core/interceptor.ts"
import { withoutBlocking } from "../../../../core/linux/blocking.ts"
import { errno, LinuxError } from "../../../../core/linux/errno.ts"
import { getIntOption, getSocketOption } from "../../../../core/linux/socket.ts"
import { AF_INET, AF_INET6, decodeEndpoint, encodeEndpoint } from "../../../../core/linux/socket-address.ts"
import { syscall } from "../../../../core/linux/syscall.ts"
import type { Call } from "./call.ts"
import { SOL_SOCKET } from "./rules.ts"
import { readMemory, writeBoth } from "./tracee.ts"

const SO_TYPE = 3
const SO_PROTOCOL = 38
const SO_DOMAIN = 39
const SO_COOKIE = 57
const IPPROTO_IPV6 = 41
const IPV6_V6ONLY = 26
/** struct sockaddr_storage. */
export const addressBytes = 128

export function socketType(fd: number): number {
  return getIntOption(fd, SOL_SOCKET, SO_TYPE)
}

export function socketFamily(fd: number): number {
  return getIntOption(fd, SOL_SOCKET, SO_DOMAIN)
}

export function socketProtocol(fd: number): number {
  return getIntOption(fd, SOL_SOCKET, SO_PROTOCOL)
}

/** A number no other socket ever has while the machine runs. */
export function socketCookie(fd: number): bigint {
  return getSocketOption(fd, SOL_SOCKET, SO_COOKIE, 8).readBigUInt64LE(0)
}

/** Whether the socket can only talk IPv6. */
export function isOnlyV6(fd: number, family: number): boolean {
  return family === AF_INET6 && getIntOption(fd, IPPROTO_IPV6, IPV6_V6ONLY) !== 0
}

/** sockaddr of an endpoint for a socket of this family: IPv4 on an IPv6 socket is a mapped address. */
export function addressFor(family: number, { ip, port }: Endpoint): Buffer {
  return encodeEndpoint(family === AF_INET6 && !ip.includes(":") ? { ip: `::ffff:${ip}`, port } : { ip, port })
}

/** An IPv6 address has no form on an IPv4 socket; mirrord shows the loopback then, and so do we. */
export function fitting(family: number, endpoint: Endpoint): Buffer {
  const address = addressFor(family, endpoint)
  if (family === AF_INET && address.readUInt16LE(0) !== AF_INET) {
    return addressFor(family, { ip: "127.0.0.1", port: endpoint.port })
  }
  return address
}

/** sockaddr the program hands over, at most `addressBytes` of it. @throws LinuxError EFAULT */
export function readAddress(call: Call, addressArgument: number, lengthArgument: number): Buffer {
  const length = Math.min(Math.max(call.int(lengthArgument), 0), addressBytes)
  return readMemory(call.tid, call.word(addressArgument), length)
}

/**
 * Fills in an address as the kernel does: cut to the length the program has room for, with the true length in the place
 * of that. @throws LinuxError EFAULT
 */
export function writeAddress(tid: number, address: bigint, lengthAddress: bigint, bytes: Uint8Array): void {
  const room = readMemory(tid, lengthAddress, 4)
  const space = Math.max(0, room.readInt32LE(0))
  room.writeInt32LE(bytes.length)
  writeBoth(tid, address, bytes.subarray(0, space), lengthAddress, room)
}

/** The address of the machine itself, in one of the families. */
export type Loopback = "127.0.0.1" | "::1"

export function isLoopback(ip: string): boolean {
  return ip.startsWith("127.") || ip === "::1"
}

export function isUnspecified(ip: string): boolean {
  return ip === "0.0.0.0" || ip === "::"
}

export function sameEndpoint(a: Endpoint | undefined, b: Endpoint | undefined): boolean {
  return a !== undefined && b !== undefined && a.ip === b.ip && a.port === b.port
}

const nameBuffer = Buffer.from(new ArrayBuffer(addressBytes))
const nameLength = Buffer.from(new ArrayBuffer(4))

/** Raw name of a socket's own or other end, good until the next call, or a negative errno. */
export function nameInBuffer(call: "getsockname" | "getpeername", fd: number): Buffer | number {
  nameLength.writeUInt32LE(addressBytes)
  const result = syscall(call, fd, nameBuffer, nameLength)
  return result < 0 ? result : nameBuffer.subarray(0, Math.min(nameLength.readUInt32LE(0), addressBytes))
}

/** The largest datagram there is, rounded up. */
const datagram = Buffer.from(new ArrayBuffer(1 << 16))

/** A datagram, of which at most so many bytes, and who sent it, good until the next call; or a negative errno. */
export function receiveInBuffer(
  fd: number,
  maxBytes: number,
  flags: number,
): { bytes: Buffer; source: Buffer } | number {
  nameLength.writeUInt32LE(addressBytes)
  const count = syscall("recvfrom", fd, datagram, Math.min(maxBytes, datagram.length), flags, nameBuffer, nameLength)
  if (count < 0) return count
  return { bytes: datagram.subarray(0, count), source: nameBuffer.subarray(0, nameLength.readUInt32LE(0)) }
}

/** Raw name of a socket's own or other end. @throws LinuxError */
export function rawName(call: "getsockname" | "getpeername", fd: number): Buffer {
  const name = nameInBuffer(call, fd)
  if (typeof name === "number") throw new LinuxError(name, call)
  return Buffer.from(name)
}

/** As `rawName`, for IP sockets; undefined for others and for sockets without that name. */
export function endpointName(call: "getsockname" | "getpeername", fd: number): Endpoint | undefined {
  // Most sockets that are asked have no name yet, which is too usual for a throw.
  const name = nameInBuffer(call, fd)
  return typeof name === "number" ? undefined : decodeEndpoint(name)
}

/** Connects without blocking: 0, or a negative errno (EINPROGRESS included). */
export function connectSocket(fd: number, address: Uint8Array): number {
  return withoutBlocking(fd, () => syscall("connect", fd, address, address.length))
}

/**
 * Connects over the loopback: 0 when it stands at once, as it nearly always does, else `inProgress` or another negative errno.
 * The first call never sees the answer, which is handled when it returns; the second one tells.
 */
export function connectLoopback(fd: number, address: Uint8Array): number {
  return withoutBlocking(fd, () => {
    const first = syscall("connect", fd, address, address.length)
    if (first !== inProgress) return first
    const second = syscall("connect", fd, address, address.length)
    return second === -errno.EALREADY ? inProgress : second
  })
}

export const inProgress = -errno.EINPROGRESS

/** Size of the value of SO_ERROR. */
export const SO_ERROR_BYTES = 4
