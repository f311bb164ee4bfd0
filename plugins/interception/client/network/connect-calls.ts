import type { RemoteConnection } from "../../../../core/client/engine.ts"
import type { Endpoint } from "../../../../core/interceptor.ts"
import { isNonBlocking } from "../../../../core/linux/blocking.ts"
import { errno } from "../../../../core/linux/errno.ts"
import { SOCK_DGRAM, SOCK_SEQPACKET, SOCK_STREAM } from "../../../../core/linux/socket.ts"
import { AF_INET6, AF_UNIX, decodeEndpoint } from "../../../../core/linux/socket-address.ts"
import { syscall } from "../../../../core/linux/syscall.ts"
import { type Answer, type Call, failure, type Handlers, proceed, success } from "../kernel/call.ts"
import { socketInode } from "../kernel/file-identity.ts"
import {
  addressFor,
  endpointName,
  isLoopback,
  isOnlyV6,
  isUnspecified,
  readAddress,
  SO_ERROR_BYTES,
  socketCookie,
  socketFamily,
  socketProtocol,
  socketType,
} from "../kernel/socket-info.ts"
import { fetchDescriptor, socketInodeOf, withDescriptor, writeMemory } from "../kernel/tracee.ts"
import type { NetworkSupervision } from "../supervision.ts"
import { ConnectLimit } from "./connect-limit.ts"
import { remoteDestination } from "./destinations.ts"
import { isForProgramItself } from "./own-datagrams.ts"
import { connectLimitMs } from "./waits.ts"

const IPPROTO_TCP = 6

/** Resolvers of the machine that would answer instead of the pod's. Without them the C library asks the name server. */
const localResolvers = new Set([
  "/var/run/nscd/socket",
  "/run/nscd/socket",
  "/run/systemd/resolve/io.systemd.Resolve",
  "/var/run/systemd/resolve/io.systemd.Resolve",
])

/** connect(2), and what came of it. */
export function connectCalls({ world, shared, tcp, udp, unix, listeners, waits }: NetworkSupervision): Handlers {
  async function connect(call: Call): Promise<Answer> {
    const address = readAddress(call, 1, 2)
    if (address.length < 2) return proceed
    if (address.readUInt16LE(0) === AF_UNIX) return connectUnix(call, address)
    const peer = decodeEndpoint(address)
    if (!peer) return proceed
    const byTcp = remoteDestination(world, "tcp", peer)
    // Local for every kind of socket, so that nobody needs to look at it.
    if (!byTcp && !remoteDestination(world, "udp", peer) && !isSpecialHere(peer)) {
      forgetName(call)
      return proceed
    }
    const fd = fetchDescriptor(call.tid, call.int(0))
    let mine = true
    try {
      const type = socketType(fd)
      const family = socketFamily(fd)
      if (address.readUInt16LE(0) === AF_INET6 && family !== AF_INET6) return proceed
      if (type === SOCK_STREAM) {
        const failed = tcp.failures.take(fd)
        if (failed !== 0) return failure(failed)
        const moved = movedListener(peer)
        if (moved !== undefined) {
          // A listener of the program that got another port than it asked for.
          await tcp.joinHere(fd, addressFor(family, { ip: peer.ip, port: moved }))
          return success
        }
      }
      if (type !== SOCK_STREAM && type !== SOCK_DGRAM) return proceed
      const elsewhere = type === SOCK_STREAM ? world.outgoing?.elsewhere?.(peer) : undefined
      if (elsewhere && !endpointName("getpeername", fd)) {
        return await waits.interruptible(call, async () => {
          await tcp.joinHere(fd, addressFor(family, await elsewhere()))
          return success
        })
      }
      if (type === SOCK_DGRAM) forgetName(call)
      const remote = type === SOCK_STREAM ? byTcp : remoteDestination(world, "udp", peer)
      if (!remote || (type === SOCK_DGRAM && isForProgramItself(peer))) return proceed
      const bound = endpointName("getsockname", fd)?.port ?? 0
      const reach = bound === 0 ? remote : async () => withOwnPort(await remote(), bound)
      if (type === SOCK_DGRAM) {
        const association = await udp.of(socketCookie(fd), isOnlyV6(fd, family) ? "::1" : "127.0.0.1", peer, reach)
        await association.connected()
        // Never waits: other threads may be about to read, and are not to find a socket that does not block.
        const address = addressFor(family, association)
        const result = syscall("connect", fd, address, address.length)
        if (result < 0) return failure(-result)
        association.program = endpointName("getsockname", fd)
        association.connectedSocket = { tid: call.tid, fd: call.int(0), inode: socketInode(fd) }
        return success
      }
      // Connected or listening already: the kernel knows what to say. While it connects, too, but to whoever waits for the outcome.
      const pending = tcp.pending(fd)
      if (endpointName("getpeername", fd) || (pending && isNonBlocking(fd))) return proceed
      if (pending) return await waits.interruptible(call, (given) => pending.then(() => outcome(given(fd, () => {}))))
      // Other protocols (MPTCP) wait as blocking sockets do: they know no simultaneous open.
      if (isNonBlocking(fd) && socketProtocol(fd) === IPPROTO_TCP) {
        mine = false
        const result = await tcp.begin(call.tid, fd, family, peer, reach)
        return result === 0 ? success : failure(-result)
      }
      mine = false
      const limitMs = connectLimitMs(fd)
      return await waits.interruptible(call, async (given, _, whenAbandoned) => {
        const limit = new ConnectLimit(limitMs)
        let goesOn = false
        const connect = async () => {
          const connection = await reach()
          return goesOn ? connection : limit.inTime(given(connection, (connection) => connection.close()))
        }
        const joined = tcp.join(fd, family, peer, connect, (leave) => {
          limit.whenOver(() => void leave(true))
          whenAbandoned((isGone) => {
            goesOn = leave(isGone)
          })
        })
        return Promise.race([joined.then(() => success), limit.over]).finally(() => limit.stop())
      })
    } finally {
      if (mine) syscall("close", fd)
    }
  }

  /** What became of a connect that was pending. */
  function outcome(fd: number): Answer {
    const failed = tcp.failures.take(fd)
    return failed === 0 ? success : failure(failed)
  }

  /** Whether an address of this machine may mean something else than the kernel thinks. */
  function isSpecialHere(peer: Endpoint): boolean {
    return tcp.failures.any || movedListener(peer) !== undefined || world.outgoing?.elsewhere?.(peer) !== undefined
  }

  /** A datagram socket may be connected again and again. */
  function forgetName(call: Call): void {
    if (!shared.namedSockets) return
    const inode = socketInodeOf(call.tid, call.int(0))
    if (inode !== undefined) shared.names.remove(inode)
  }

  function movedListener(peer: Endpoint): number | undefined {
    return isLoopback(peer.ip) || isUnspecified(peer.ip) ? listeners.movedTo(peer.port) : undefined
  }

  async function connectUnix(call: Call, address: Buffer): Promise<Answer> {
    const end = address.indexOf(0, 3)
    const path = address.subarray(2, address[2] === 0 || end < 0 ? address.length : end)
    if (world.dns && localResolvers.has(path.toString("latin1"))) return failure(errno.ENOENT)
    if (!world.outgoing || path.length === 0) return proceed
    const fd = fetchDescriptor(call.tid, call.int(0))
    try {
      const type = socketType(fd)
      if (socketFamily(fd) !== AF_UNIX || (type !== SOCK_STREAM && type !== SOCK_SEQPACKET)) return proceed
      const peer = { kind: type === SOCK_STREAM ? "unix" : "seqpacket", path: Uint8Array.from(path) } as const
      if (world.outgoing.place(peer) !== "remote") return proceed
      const connection = await world.outgoing.connect(peer)
      if (type === SOCK_STREAM) unix.join(fd, peer.path, connection)
      else unix.joinPackets(fd, peer.path, connection)
      return success
    } finally {
      syscall("close", fd)
    }
  }

  /** SO_ERROR of a non-blocking connect: the kernel only knows that it was broken off. */
  function socketOption(call: Call): Answer {
    const number = withDescriptor(call.tid, call.int(0), (fd) => tcp.failures.take(fd))
    if (number === 0) return proceed
    const bytes = Buffer.alloc(SO_ERROR_BYTES)
    bytes.writeInt32LE(number)
    writeMemory(call.tid, call.word(3), bytes)
    bytes.writeInt32LE(SO_ERROR_BYTES)
    writeMemory(call.tid, call.word(4), bytes)
    return success
  }

  return { connect, getsockopt: socketOption }
}

/** A socket that was bound before it connected has that port, whatever the agent's end has. */
function withOwnPort(connection: RemoteConnection, port: number): RemoteConnection {
  if (connection.local) connection.local = { ip: connection.local.ip, port }
  return connection
}
