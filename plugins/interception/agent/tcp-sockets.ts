import type { SocketHandler } from "bun"
import { collectReceived } from "../../../core/collect-received.ts"
import type { Endpoint, Route, TcpEvents, TcpSocket } from "../../../core/interceptor.ts"
import { errno, LinuxError } from "../../../core/linux/errno.ts"
import { POLLOUT, poll } from "../../../core/linux/poll.ts"
import { SO_MARK, SOL_SOCKET } from "../../../core/linux/socket.ts"
import { AF_INET, AF_INET6, decodeEndpoint, encodeEndpoint } from "../../../core/linux/socket-address.ts"
import { syscall } from "../../../core/linux/syscall.ts"
import type { Stamp } from "./rule-set.ts"

const SOCK_STREAM_NONBLOCK_CLOEXEC = 1 | 0o4000 | 0o2000000
const SO_ERROR = 4
const SO_PRIORITY = 12
const SOL_IP = 0
const IP_BIND_ADDRESS_NO_PORT = 24
const SOL_IPV6 = 41
/** The same number on both levels. Source: linux/netfilter_ipv4.h, linux/netfilter_ipv6/ip6_tables.h. */
const SO_ORIGINAL_DST = 80
/** Not 127.0.0.1: that one the kernel chooses itself where it is right. */
const otherLoopback = /^127\.(?!0\.0\.1$)/

/** Hands the events of any socket to its `data`. */
export const toEvents: SocketHandler<TcpEvents, "buffer"> = {
  binaryType: "buffer",
  data: (socket, bytes) => {
    collectReceived(bytes.length)
    socket.data.onData(bytes)
  },
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
  const result = readOriginalDestination((socket as unknown as { fd: number }).fd, plainIpv6, address)
  if (result < 0) throw new LinuxError(result, "read a connection's original destination")
  return decodeEndpoint(address)!
}

/** Connection tracking knows the connection, so its first packet has been through the rules, and was not dropped by them. */
export function isTracked(fd: number, isIpv6: boolean): boolean {
  return readOriginalDestination(fd, isIpv6, Buffer.alloc(28)) >= 0
}

function readOriginalDestination(fd: number, isIpv6: boolean, address: Buffer): number {
  const size = new Int32Array([address.length])
  return syscall("getsockopt", fd, isIpv6 ? SOL_IPV6 : SOL_IP, SO_ORIGINAL_DST, address, size)
}

/** Who is calling. */
export function sourceOf(socket: TcpSocket): Endpoint {
  return { ip: withoutMapping(socket.remoteAddress), port: socket.remotePort }
}

const withoutMapping = (ip: string) => (ip.startsWith("::ffff:") && ip.includes(".") ? ip.slice(7) : ip)

/**
 * Starts a connection whose packets carry `stamp`, from the network namespace of the calling thread and from the source's address where
 * that is one of the loopback (127.0.0.6 is how Istio's proxy shows itself); other callers' addresses are the rules' business.
 * `stands`: the handshake is over. Within one namespace it runs inside connect(), so that is usual.
 * @throws LinuxError when it fails at once
 */
export function connectStamped({ source, destination }: Route, stamp: Stamp): StartedConnection {
  const family = destination.ip.includes(":") ? AF_INET6 : AF_INET
  const fd = syscall("socket", family, SOCK_STREAM_NONBLOCK_CLOEXEC, 0)
  if (fd < 0) throw new LinuxError(fd, "open a socket")
  const from = stamp.from ?? (otherLoopback.test(source.ip) ? source.ip : undefined)
  if (from) {
    syscall("setsockopt", fd, SOL_IP, IP_BIND_ADDRESS_NO_PORT, new Uint32Array([1]), 4)
    const address = encodeEndpoint({ ip: from, port: 0 })
    syscall("bind", fd, address, address.length)
  }
  const outcome = startConnecting(fd, stamp, encodeEndpoint(destination))
  if (outcome === 0 || outcome === -errno.EINPROGRESS) return { fd, stands: outcome === 0 }
  closeSocket(fd)
  throw new LinuxError(outcome, `connect to the application at ${destination.ip} port ${destination.port}`)
}

export interface StartedConnection {
  fd: number
  stands: boolean
}

export function closeSocket(fd: number): void {
  syscall("close", fd)
}

/** 0 when it stands, -EINPROGRESS while it does not, a negative errno when it failed. */
function startConnecting(fd: number, { mark, priority }: Stamp, address: Buffer): number {
  const marked = syscall("setsockopt", fd, SOL_SOCKET, SO_MARK, new Uint32Array([mark]), 4)
  if (marked < 0) return marked
  const prioritized = priority ? syscall("setsockopt", fd, SOL_SOCKET, SO_PRIORITY, priority, 4) : 0
  if (prioritized < 0) return prioritized
  const connected = syscall("connect", fd, address, address.length)
  if (connected !== -errno.EINPROGRESS) return connected
  if (poll(fd, POLLOUT) <= 0) return -errno.EINPROGRESS
  const outcome = new Int32Array(1)
  syscall("getsockopt", fd, SOL_SOCKET, SO_ERROR, outcome, new Int32Array([4]))
  return -outcome[0]!
}
