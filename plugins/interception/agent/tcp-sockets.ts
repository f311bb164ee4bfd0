import type { SocketHandler } from "bun"
import type { Endpoint, Route, TcpEvents, TcpSocket } from "../../../core/interceptor.ts"
import { errno, LinuxError } from "../../../core/linux/errno.ts"
import { syscall } from "../../../core/linux/syscall.ts"

const AF_INET = 2
const AF_INET6 = 10
const SOCK_STREAM_NONBLOCK_CLOEXEC = 1 | 0o4000 | 0o2000000
const SOL_SOCKET = 1
const SO_ERROR = 4
const SO_MARK = 36
const SOL_IP = 0
const IP_BIND_ADDRESS_NO_PORT = 24
const SOL_IPV6 = 41
/** The same number on both levels. Source: linux/netfilter_ipv4.h, linux/netfilter_ipv6/ip6_tables.h. */
const SO_ORIGINAL_DST = 80
const POLLOUT = 4
/** Not 127.0.0.1: that one the kernel chooses itself where it is right. */
const otherLoopback = /^127\.(?!0\.0\.1$)/

/** Hands the events of any socket to its `data`. */
export const toEvents: SocketHandler<TcpEvents, "buffer"> = {
  binaryType: "buffer",
  data: (socket, bytes) => socket.data.onData(bytes),
  drain: (socket) => socket.data.onDrain(),
  end: (socket) => socket.data.onEnd(),
  close: (socket, error) => socket.data.onClose(error),
  // A fault in the code above: the connection must not hang half served. `close` follows.
  error: (socket) => socket.terminate(),
}

/** Where a redirected connection was going. @throws LinuxError ENOENT when it was not redirected at all */
export function originalDestination(socket: TcpSocket): Endpoint {
  const plainIpv6 = socket.localFamily === "IPv6" && !socket.localAddress.startsWith("::ffff:")
  const address = Buffer.alloc(28)
  const level = plainIpv6 ? SOL_IPV6 : SOL_IP
  const fd = (socket as unknown as { fd: number }).fd
  const result = syscall("getsockopt", fd, level, SO_ORIGINAL_DST, address, new Int32Array([address.length]))
  if (result < 0) throw new LinuxError(result, "read a connection's original destination")
  const port = address.readUInt16BE(2)
  return plainIpv6 ? { ip: ipv6Text(address.subarray(8, 24)), port } : { ip: address.subarray(4, 8).join("."), port }
}

/** Who is calling. */
export function sourceOf(socket: TcpSocket): Endpoint {
  return { ip: withoutMapping(socket.remoteAddress), port: socket.remotePort }
}

const withoutMapping = (ip: string) => (ip.startsWith("::ffff:") && ip.includes(".") ? ip.slice(7) : ip)

/**
 * Starts a connection whose packets carry `mark`, from the network namespace of the calling thread. Of callers only loopback
 * addresses are kept (127.0.0.6 is how Istio's proxy shows itself): answers to any other would leave the namespace, unless its
 * routing were changed for as long as the agent lives, and longer when it is killed.
 * @throws LinuxError when it fails at once
 */
export function connectMarked({ source, destination: { ip, port } }: Route, mark: number): number {
  const family = ip.includes(":") ? AF_INET6 : AF_INET
  const fd = syscall("socket", family, SOCK_STREAM_NONBLOCK_CLOEXEC, 0)
  if (fd < 0) throw new LinuxError(fd, "open a socket")
  if (otherLoopback.test(source.ip)) {
    syscall("setsockopt", fd, SOL_IP, IP_BIND_ADDRESS_NO_PORT, new Uint32Array([1]), 4)
    const from = ipv4Address(source.ip, 0)
    syscall("bind", fd, from, from.length)
  }
  const failed = startConnecting(fd, mark, family === AF_INET ? ipv4Address(ip, port) : ipv6Address(ip, port))
  if (failed === 0) return fd
  syscall("close", fd)
  throw new LinuxError(failed, `connect to the application at ${ip} port ${port}`)
}

function startConnecting(fd: number, mark: number, address: Buffer): number {
  const marked = syscall("setsockopt", fd, SOL_SOCKET, SO_MARK, new Uint32Array([mark]), 4)
  if (marked < 0) return marked
  const connected = syscall("connect", fd, address, address.length)
  if (connected !== -errno.EINPROGRESS) return connected
  // Within one namespace the handshake runs inside connect(), so the outcome is usually there already.
  const poll = new Uint8Array(8)
  new DataView(poll.buffer).setInt32(0, fd, true)
  poll[4] = POLLOUT
  if (syscall("ppoll", poll, 1, new BigInt64Array(2), null, 0) <= 0) return 0
  const outcome = new Int32Array(1)
  syscall("getsockopt", fd, SOL_SOCKET, SO_ERROR, outcome, new Int32Array([4]))
  return -outcome[0]!
}

/** struct sockaddr_in: family u16, port u16 big-endian, address. */
function ipv4Address(ip: string, port: number): Buffer {
  const address = Buffer.alloc(16)
  address.writeUInt16LE(AF_INET, 0)
  address.writeUInt16BE(port, 2)
  address.set(ip.split(".").map(Number), 4)
  return address
}

/** struct sockaddr_in6: family u16, port u16 big-endian, flow u32, address, scope u32. */
function ipv6Address(ip: string, port: number): Buffer {
  const address = Buffer.alloc(28)
  address.writeUInt16LE(AF_INET6, 0)
  address.writeUInt16BE(port, 2)
  const [head = "", tail] = ip.split("::")
  const groups = (part: string) => (part === "" ? [] : part.split(":").map((group) => Number.parseInt(group, 16)))
  const left = groups(head)
  const right = tail === undefined ? [] : groups(tail)
  for (const [index, group] of left.entries()) address.writeUInt16BE(group, 8 + 2 * index)
  for (const [index, group] of right.entries()) address.writeUInt16BE(group, 24 - 2 * (right.length - index))
  return address
}

/** RFC 5952: no leading zeros, the longest run of zero groups shortened. */
export function ipv6Text(bytes: Uint8Array): string {
  const groups = Array.from({ length: 8 }, (_, index) => (bytes[2 * index]! << 8) | bytes[2 * index + 1]!)
  const full = groups.map((group) => group.toString(16)).join(":")
  const runs = full.match(/\b0(?::0)+\b/g) ?? []
  const longest = runs.reduce((best, run) => (run.length > best.length ? run : best), "")
  if (longest === "") return full
  const at = full.indexOf(longest)
  return `${full.slice(0, at).replace(/:$/, "")}::${full.slice(at + longest.length).replace(/^:/, "")}`
}
