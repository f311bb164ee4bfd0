import { syscall } from "./syscall.ts"

export const POLLIN = 1
export const POLLOUT = 4
export const POLLRDHUP = 0x2000
/** An error, and the end of a connection, are told without being asked for. */
export const POLLERR = 0

/**
 * Whether a descriptor has one of these events, at once or after so many whole seconds in which this thread stands still: 1, 0 or a
 * negative errno. struct pollfd: fd i32, events i16, revents i16.
 */
export function poll(fd: number, events: number, seconds = 0): number {
  const wanted = Buffer.alloc(8)
  wanted.writeInt32LE(fd, 0)
  wanted.writeInt16LE(events, 4)
  const limit = Buffer.alloc(16)
  limit.writeBigInt64LE(BigInt(seconds), 0)
  return syscall("ppoll", wanted, 1, limit, null, 0)
}
