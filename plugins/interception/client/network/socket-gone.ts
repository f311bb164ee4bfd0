import type { Endpoint } from "../../../../core/interceptor.ts"
import { encodeEndpoint } from "../../../../core/linux/socket-address.ts"
import { syscall } from "../../../../core/linux/syscall.ts"

/*
 * Asks the kernel for one TCP socket (sock_diag(7)).
 *
 *   request  nlmsghdr: len u32, type u16, flags u16, seq u32, pid u32
 *            inet_diag_req_v2: family u8, protocol u8, ext u8, pad u8, states u32, then the id
 *   id       source port u16 BE, destination port u16 BE, source 16 bytes, destination 16 bytes, interface u32, cookie 8 bytes
 *   answer   nlmsghdr; inet_diag_msg: family, state, timer, retrans u8 each, the id, expires u32, rqueue u32, wqueue u32, uid u32,
 *            inode u32
 */
const AF_NETLINK = 16
const AF_INET = 2
const AF_INET6 = 10
const SOCK_RAW = 3
const SOCK_CLOEXEC = 0o2000000
const SOCK_NONBLOCK = 0o4000
const NETLINK_SOCK_DIAG = 4
const SOCK_DIAG_BY_FAMILY = 20
const NLMSG_ERROR = 2
const NLM_F_REQUEST = 1
const IPPROTO_TCP = 6
const headerBytes = 16
const idAt = headerBytes + 8
const requestBytes = idAt + 48
const inodeAt = headerBytes + 4 + 48 + 16
const MSG_DONTWAIT = 0x40

let netlink: number | undefined
const request = Buffer.from(new ArrayBuffer(requestBytes))
const answer = Buffer.from(new ArrayBuffer(512))

/**
 * Whether the TCP socket of this machine with these two ends belongs to no process any more. False also when the kernel does not
 * tell: then nobody may conclude anything.
 */
export function isSocketGone(own: Endpoint, peer: Endpoint): boolean {
  netlink ??= syscall("socket", AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_SOCK_DIAG)
  if (netlink < 0) return false
  const from = encodeEndpoint(own)
  const to = encodeEndpoint(peer)
  const isV4 = from.length === 16
  request.fill(0)
  request.writeUInt32LE(requestBytes, 0)
  request.writeUInt16LE(SOCK_DIAG_BY_FAMILY, 4)
  request.writeUInt16LE(NLM_F_REQUEST, 6)
  request[headerBytes] = isV4 ? AF_INET : AF_INET6
  request[headerBytes + 1] = IPPROTO_TCP
  request.writeUInt32LE(0xffff_ffff, headerBytes + 4)
  request.writeUInt16BE(own.port, idAt)
  request.writeUInt16BE(peer.port, idAt + 2)
  const [addressAt, addressEnd] = isV4 ? [4, 8] : [8, 24]
  from.copy(request, idAt + 4, addressAt, addressEnd)
  to.copy(request, idAt + 20, addressAt, addressEnd)
  // No cookie is known.
  request.fill(0xff, idAt + 40, idAt + 48)
  if (syscall("sendto", netlink, request, requestBytes, MSG_DONTWAIT, 0, 0) < 0) return false
  const count = syscall("recvfrom", netlink, answer, answer.length, MSG_DONTWAIT, 0, 0)
  if (count < headerBytes + 4) return false
  // A socket that is not there at all has no owner either; other errors say nothing.
  if (answer.readUInt16LE(4) === NLMSG_ERROR) return answer.readInt32LE(headerBytes) === -2
  return count >= inodeAt + 4 && answer.readUInt32LE(inodeAt) === 0
}
