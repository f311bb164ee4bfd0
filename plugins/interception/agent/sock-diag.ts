import { errno, isLinuxError } from "../../../core/linux/errno.ts"
import { NETLINK_SOCK_DIAG, NetlinkSocket, NLM_F_ACK } from "./netlink.ts"

/*
 * Sockets of a network namespace by netlink. Numbers and structures: linux/sock_diag.h, linux/inet_diag.h.
 * inet_diag_sockid: source port u16 big-endian, destination port, source address 16 bytes, destination address, interface u32, cookie u64.
 */

const SOCK_DIAG_BY_FAMILY = 20
const SOCK_DESTROY = 21
const TCP = 6
const families = [2, 10] as const
/** Bits by state: established, both waits for the end, close-wait, last-ack, closing. Listeners and time-wait are none of them. */
const connectedStates = (1 << 1) | (1 << 4) | (1 << 5) | (1 << 8) | (1 << 9) | (1 << 11)
const socketIdBytes = 48
/** Family, state, timer and retransmissions stand before the id. */
const socketIdAt = 4

/**
 * Resets every established connection with one of `ports` on this side, in the calling thread's network namespace: both ends learn of
 * it at once. Returns how many there were, or undefined where the kernel cannot (built without INET_DIAG_DESTROY).
 * @throws LinuxError
 */
export function resetConnections(ports: readonly number[]): number | undefined {
  const wanted = new Set(ports)
  const socket = new NetlinkSocket(NETLINK_SOCK_DIAG)
  try {
    const found = families.flatMap((family) =>
      socket
        .dump({ type: SOCK_DIAG_BY_FAMILY, body: request(family) }, "list sockets")
        .map((entry) => ({ family, id: entry.subarray(socketIdAt, socketIdAt + socketIdBytes) }))
        .filter(({ id }) => wanted.has(id.readUInt16BE(0))),
    )
    return found.filter(({ family, id }) => reset(socket, family, id)).length
  } catch (thrown) {
    if (isLinuxError(thrown, errno.EOPNOTSUPP, errno.EINVAL)) return undefined
    throw thrown
  } finally {
    socket.close()
  }
}

function reset(socket: NetlinkSocket, family: number, id: Buffer): boolean {
  try {
    socket.send([{ type: SOCK_DESTROY, flags: NLM_F_ACK, body: request(family, id) }], "reset a connection")
    return true
  } catch (thrown) {
    // It ended meanwhile.
    if (isLinuxError(thrown, errno.ENOENT)) return false
    throw thrown
  }
}

/** struct inet_diag_req_v2: family u8, protocol u8, extensions u8, padding, states u32, id. */
function request(family: number, id?: Buffer): Buffer {
  const body = Buffer.alloc(8 + socketIdBytes)
  body.set([family, TCP])
  body.writeUInt32LE(connectedStates, 4)
  if (id) body.set(id, 8)
  return body
}
