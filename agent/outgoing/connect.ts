import { ownMark } from "../../core/interceptor.ts"
import { check, errno, isLinuxError } from "../../core/linux/errno.ts"
import { openFlag, withOpenBelow } from "../../core/linux/open.ts"
import {
  localEndpoint,
  openSocket,
  SO_MARK,
  SOCK_SEQPACKET,
  SOCK_STREAM,
  SOL_SOCKET,
  setSocketOption,
} from "../../core/linux/socket.ts"
import { AF_UNIX, type Endpoint, encodeEndpoint, encodeUnixAddress, familyOf } from "../../core/linux/socket-address.ts"
import { syscall } from "../../core/linux/syscall.ts"
import type { SocketAddress, UnixAddr } from "../../core/protocol/index.ts"
import { RefusedRequest } from "../response-error.ts"
import type { Surroundings } from "../target/target.ts"
import { AdoptedSocket, type OutgoingSocket } from "./socket.ts"
import { UdpSocket } from "./udp.ts"

export type FamilyKind = "TcpOutgoing" | "UdpOutgoing" | "SeqpacketOutgoing"

export interface Connected {
  socket: OutgoingSocket
  remoteAddress: SocketAddress
  /** The agent's end. */
  localAddress: SocketAddress
}

const connectMilliseconds = 5000
/** A unix listener whose backlog is full is asked again after this time. */
const retryMilliseconds = 20
const IPPROTO_TCP = 6
const TCP_NODELAY = 1
const markOption = Int32Array.of(ownMark)
/** What is reached by the loopback interface and from a loopback address. */
const onLoopback = /^(?:127\.|0\.0\.0\.0$|::1?$)/
const unnamed: SocketAddress = { kind: "Unix", value: { kind: "Unnamed" } }

/**
 * Connects from the target's network (or, by path, in its files).
 * @throws LinuxError with the kernel's reason, ETIMEDOUT after 5 s; RefusedRequest for an address that makes no sense here
 */
export async function connectOutgoing(
  family: FamilyKind,
  address: SocketAddress,
  surroundings: Surroundings,
): Promise<Connected> {
  if (address.kind === "Ip") {
    if (family === "TcpOutgoing") return connectTcp(address.value, surroundings)
    if (family === "UdpOutgoing") return connectUdp(address.value, surroundings)
  } else if (family !== "UdpOutgoing" && address.value.kind !== "Unnamed") {
    const type = family === "TcpOutgoing" ? SOCK_STREAM : SOCK_SEQPACKET
    const socket = await connectUnix(type, address.value, surroundings)
    return { socket, remoteAddress: address, localAddress: unnamed }
  }
  throw new RefusedRequest({ kind: "Remote", value: { kind: "InvalidAddress", value: address } })
}

async function connectTcp(remote: Endpoint, surroundings: Surroundings): Promise<Connected> {
  const fd = surroundings.inNamespace(() => openSocket(familyOf(remote.ip), SOCK_STREAM))
  const isConnected = startConnect(fd, (connect) => {
    setSocketOption(fd, IPPROTO_TCP, TCP_NODELAY, 1)
    if (onLoopback.test(remote.ip)) passRules(fd)
    return connect(encodeEndpoint(remote))
  })
  const socket = await AdoptedSocket.adopt(fd, isConnected, connectMilliseconds)
  return { socket, remoteAddress: ip(remote), localAddress: ip(localEndpoint(fd) ?? remote) }
}

/**
 * By the pod's loopback a program reaches the application itself, also behind a port it steals, as with mirrord's agent. The kernel refuses
 * the mark where the agent may not make rules, either.
 */
function passRules(fd: number): void {
  syscall("setsockopt", fd, SOL_SOCKET, SO_MARK, markOption, markOption.byteLength)
}

async function connectUdp(remote: Endpoint, surroundings: Surroundings): Promise<Connected> {
  const socket = await UdpSocket.connect(remote, surroundings)
  return { socket, remoteAddress: ip(remote), localAddress: ip(socket.local) }
}

type UnixName = Exclude<UnixAddr, { kind: "Unnamed" }>

async function connectUnix(type: number, name: UnixName, surroundings: Surroundings): Promise<OutgoingSocket> {
  const deadline = performance.now() + connectMilliseconds
  for (;;) {
    try {
      const fd = surroundings.inNamespace(() => openSocket(AF_UNIX, type))
      connectByName(fd, name, surroundings.rootFd)
      return await AdoptedSocket.adopt(fd, true, connectMilliseconds)
    } catch (thrown) {
      if (!isLinuxError(thrown, errno.EAGAIN) || performance.now() > deadline) throw thrown
    }
    await Bun.sleep(retryMilliseconds)
  }
}

function connectByName(fd: number, name: UnixName, rootFd: number): void {
  if (name.kind === "Abstract") startConnect(fd, (connect) => connect(encodeUnixAddress({ abstract: name.value })))
  else {
    // Through /proc the kernel takes the very file that was found below the root, whatever is renamed meanwhile.
    startConnect(fd, (connect) =>
      withOpenBelow(rootFd, name.value, openFlag.path, (file) =>
        connect(encodeUnixAddress({ path: `/proc/self/fd/${file}` })),
      ),
    )
  }
}

/** False when the connection is still being made. Closes `fd` before it throws. @throws LinuxError */
function startConnect(fd: number, start: (connect: (address: Buffer) => boolean) => boolean): boolean {
  try {
    return start((address) => {
      const result = syscall("connect", fd, address, address.length)
      if (result !== -errno.EINPROGRESS) return check(result, "connect") === 0
      // A peer on this very node has answered by now, and a second call says so: nobody needs to wait for a turn of the event loop.
      const second = syscall("connect", fd, address, address.length)
      if (second === -errno.EALREADY) return false
      check(second, "connect")
      return true
    })
  } catch (thrown) {
    syscall("close", fd)
    throw thrown
  }
}

function ip(endpoint: Endpoint): SocketAddress {
  return { kind: "Ip", value: endpoint }
}
