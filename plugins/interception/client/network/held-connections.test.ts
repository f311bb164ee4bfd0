import { expect, test } from "bun:test"
import { check } from "../../../../core/linux/errno.ts"
import { openSocket, SOCK_STREAM } from "../../../../core/linux/socket.ts"
import { AF_INET, encodeEndpoint } from "../../../../core/linux/socket-address.ts"
import { syscall } from "../../../../core/linux/syscall.ts"
import { endpointName } from "../kernel/socket-info.ts"
import { disconnect, HeldConnections } from "./held-connections.ts"

const writable = 4

/** What poll says after at most `ms`, less than a second. */
function events(fd: number, ms: number): number {
  const poll = Buffer.alloc(8)
  poll.writeInt32LE(fd, 0)
  poll.writeInt16LE(writable, 4)
  const limit = Buffer.alloc(16)
  limit.writeBigInt64LE(BigInt(ms) * 1_000_000n, 8)
  check(syscall("ppoll", poll, 1, limit, null, 0), "ppoll")
  return poll.readInt16LE(6)
}

test("connections stay pending, each until it is completed or broken off", () => {
  const held = new HeldConnections("127.0.0.1")
  const open: number[] = []
  const begin = () => {
    const fd = openSocket(AF_INET, SOCK_STREAM)
    open.push(fd)
    expect(held.hold(fd, encodeEndpoint({ ip: "127.0.0.1", port: held.port }))).toBe(0)
    return fd
  }
  try {
    // More of them than any queue of the listener could have room for.
    const sockets = Array.from({ length: 8 }, begin)
    expect(sockets.map((fd) => events(fd, 5))).toEqual(sockets.map(() => 0))
    const [first, second, ...others] = sockets as [number, number, ...number[]]
    open.push(held.complete(endpointName("getsockname", first)!))
    expect(events(first, 900)).toBe(writable)
    expect(endpointName("getpeername", first)?.port).toBe(held.port)
    disconnect(second)
    expect(events(second, 900) & ~writable).not.toBe(0)
    expect(others.map((fd) => events(fd, 5))).toEqual(others.map(() => 0))
  } finally {
    for (const fd of open) syscall("close", fd)
    held.close()
  }
})
