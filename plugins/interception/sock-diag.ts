import type { Endpoint } from "../../core/interceptor.ts"
import { errno, isLinuxError } from "../../core/linux/errno.ts"
import { AF_INET, encodeEndpoint } from "../../core/linux/socket-address.ts"
import { NETLINK_SOCK_DIAG, NetlinkSocket, NLM_F_ACK } from "./netlink.ts"

/*
 * Sockets of a network namespace by netlink. Numbers and structures: linux/sock_diag.h, linux/inet_diag.h.
 * inet_diag_sockid: source port u16 big-endian, destination port, source address 16 bytes, destination address, interface u32, cookie u64.
 */

const SOCK_DIAG_BY_FAMILY = 20
const SOCK_DESTROY = 21
const TCP = 6
const UDP = 17
const families = [2, 10] as const
/** Bits by state: established, both waits for the end, close-wait, last-ack, closing. Listeners and time-wait are none of them. */
const connectedStates = (1 << 1) | (1 << 4) | (1 << 5) | (1 << 8) | (1 << 9) | (1 << 11)
const listeningState = 1 << 10
const socketIdBytes = 48
/** Family, state, timer and retransmissions stand before the id. */
const socketIdAt = 4
/** Behind the id, u32 each: expiry, what waits to be read and to be sent, the owner, the inode. */
const unreadAt = socketIdAt + socketIdBytes + 4
const inodeAt = socketIdAt + socketIdBytes + 16
const anyState = 0xffff_ffff
const mappedPrefix = Buffer.from([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff])

/**
 * Resets every established connection with one of `ports` on this side, in the calling thread's network namespace: both ends learn of
 * it at once. Returns how many there were, or undefined where the kernel cannot (built without INET_DIAG_DESTROY).
 * @throws LinuxError
 */
export function resetConnections(ports: readonly number[]): number | undefined {
  const socket = new NetlinkSocket(NETLINK_SOCK_DIAG)
  try {
    const found = connected(socket, ports)
    return found.filter(({ family, id }) => reset(socket, family, id)).length
  } catch (thrown) {
    if (isLinuxError(thrown, errno.EOPNOTSUPP, errno.EINVAL)) return undefined
    throw thrown
  } finally {
    socket.close()
  }
}

/**
 * The connections with one of `ports` on this side, in the calling thread's network namespace, each as the peer's packets name it: its
 * address, ours (4 or 16 bytes), its port, ours, as latin1. @throws LinuxError
 */
export function connectedFlows(ports: readonly number[]): Set<string> {
  const socket = new NetlinkSocket(NETLINK_SOCK_DIAG)
  try {
    return new Set(connected(socket, ports).map(flowOf))
  } finally {
    socket.close()
  }
}

/** Ports with a TCP listener in the network namespace of `socket`. Nothing but listeners is looked at for it. @throws LinuxError */
export function listeningPorts(socket: NetlinkSocket): Set<number> {
  const entries = families.flatMap((family) =>
    socket.dump({ type: SOCK_DIAG_BY_FAMILY, body: request(family, listeningState) }, "list listeners"),
  )
  return new Set(entries.map((entry) => entry.readUInt16BE(socketIdAt)))
}

export interface UdpSocket {
  port: number
  unreadBytes: number
  inode: number
}

/** The UDP sockets that have a port, in the network namespace of `socket`. @throws LinuxError, ENOENT where the kernel does not tell */
export function udpSocketsIn(socket: NetlinkSocket): UdpSocket[] {
  return families
    .flatMap((family) =>
      socket.dump({ type: SOCK_DIAG_BY_FAMILY, body: request(family, anyState, undefined, UDP) }, "list UDP sockets"),
    )
    .map((entry) => ({
      port: entry.readUInt16BE(socketIdAt),
      unreadBytes: entry.readUInt32LE(unreadAt),
      inode: entry.readUInt32LE(inodeAt),
    }))
}

/**
 * Inode of the TCP socket with these two ends in the network namespace of `socket`: 0 when it belongs to no process any more,
 * undefined when there is none. @throws LinuxError
 */
export function inodeOfSocket(socket: NetlinkSocket, own: Endpoint, peer: Endpoint): number | undefined {
  const [from, to] = [encodeEndpoint(own), encodeEndpoint(peer)]
  const family = from.readUInt16LE(0)
  // In both forms of a socket's address: family u16, port u16 big-endian, then 4 bytes, or a flow label and 16 bytes.
  const [addressAt, addressEnd] = family === AF_INET ? [4, 8] : [8, 24]
  const id = Buffer.alloc(socketIdBytes)
  from.copy(id, 0, 2, 4)
  to.copy(id, 2, 2, 4)
  from.copy(id, 4, addressAt, addressEnd)
  to.copy(id, 20, addressAt, addressEnd)
  // No cookie is known.
  id.fill(0xff, 40)
  try {
    const body = request(family, anyState, id)
    return socket.ask({ type: SOCK_DIAG_BY_FAMILY, body }, "look for a socket").readUInt32LE(inodeAt)
  } catch (thrown) {
    if (isLinuxError(thrown, errno.ENOENT)) return undefined
    throw thrown
  }
}

interface Connected {
  family: (typeof families)[number]
  id: Buffer
}

function connected(socket: NetlinkSocket, ports: readonly number[]): Connected[] {
  const wanted = new Set(ports)
  return families.flatMap((family) =>
    socket
      .dump({ type: SOCK_DIAG_BY_FAMILY, body: request(family, connectedStates) }, "list sockets")
      .map((entry) => ({ family, id: entry.subarray(socketIdAt, socketIdAt + socketIdBytes) }))
      .filter(({ id }) => wanted.has(id.readUInt16BE(0))),
  )
}

function flowOf({ family, id }: Connected): string {
  const [own, peer] = [id.subarray(4, 20), id.subarray(20, 36)].map((address) => addressIn(family, address))
  return Buffer.concat([peer!, own!, id.subarray(2, 4), id.subarray(0, 2)]).toString("latin1")
}

/** A socket for both families has IPv4 addresses in the form of IPv6. */
function addressIn(family: Connected["family"], address: Buffer): Buffer {
  if (family === 2) return address.subarray(0, 4)
  return address.subarray(0, 12).equals(mappedPrefix) ? address.subarray(12) : address
}

function reset(socket: NetlinkSocket, family: number, id: Buffer): boolean {
  try {
    socket.send(
      [{ type: SOCK_DESTROY, flags: NLM_F_ACK, body: request(family, connectedStates, id) }],
      "reset a connection",
    )
    return true
  } catch (thrown) {
    // It ended meanwhile.
    if (isLinuxError(thrown, errno.ENOENT)) return false
    throw thrown
  }
}

/** struct inet_diag_req_v2: family u8, protocol u8, extensions u8, padding, states u32, id. */
function request(family: number, states: number, id?: Buffer, protocol = TCP): Buffer {
  const body = Buffer.alloc(8 + socketIdBytes)
  body.set([family, protocol])
  body.writeUInt32LE(states, 4)
  if (id) body.set(id, 8)
  return body
}
