import { errno, isLinuxError } from "../../../core/linux/errno.ts"
import { attribute, be32, NETLINK_NETFILTER, NetlinkSocket, NLM_F_ACK, readAttributes } from "./netlink.ts"

/* Connection tracking by netlink. Numbers: linux/netfilter/nfnetlink_conntrack.h, nf_conntrack_common.h. */

const SUBSYSTEM = 1 << 8
const GET = 1
const DELETE = 2
const TUPLE_ORIGINAL = 1
const STATUS = 3
const MARK = 8
const ID = 12
const MARK_MASK = 21
const NESTED = 0x8000
const TCP = 6
/** Source or destination is translated: connections some rule redirected, which must not lose their original destination. */
const TRANSLATED = 0x30

/**
 * Makes the kernel forget connections made directly to one of `ports`, in the calling thread's network namespace. What such a
 * connection sends next is unknown to connection tracking. Returns how many there were.
 * @throws LinuxError
 */
export function forgetConnections(ports: readonly number[]): number {
  const wanted = new Set(ports)
  const socket = new NetlinkSocket(NETLINK_NETFILTER)
  try {
    const anyFamily = Buffer.alloc(4)
    const entries = socket.dump({ type: SUBSYSTEM | GET, body: anyFamily }, "list tracked connections")
    return entries.filter((entry) => forget(socket, entry, wanted)).length
  } finally {
    socket.close()
  }
}

/** The same for all connections with exactly this mark, whatever is translated in them; the kernel looks for them. @throws LinuxError */
export function forgetMarked(mark: number): void {
  const socket = new NetlinkSocket(NETLINK_NETFILTER)
  try {
    const body = Buffer.concat([Buffer.alloc(4), attribute(MARK, be32(mark)), attribute(MARK_MASK, be32(0xffffffff))])
    socket.send([{ type: SUBSYSTEM | DELETE, flags: NLM_F_ACK, body }], "forget marked connections")
  } finally {
    socket.close()
  }
}

function forget(socket: NetlinkSocket, entry: Buffer, ports: ReadonlySet<number>): boolean {
  const family = entry.subarray(0, 4)
  const fields = readAttributes(entry.subarray(4))
  const original = fields.get(TUPLE_ORIGINAL)
  const id = fields.get(ID)
  const status = fields.get(STATUS)?.readUInt32BE(0) ?? 0
  if (!original || !id || status & TRANSLATED) return false
  const protocol = readAttributes(readAttributes(original).get(2) ?? Buffer.alloc(0))
  if (protocol.get(1)?.[0] !== TCP || !ports.has(protocol.get(3)?.readUInt16BE(0) ?? -1)) return false
  const body = Buffer.concat([family, attribute(TUPLE_ORIGINAL | NESTED, original), attribute(ID, id)])
  try {
    socket.send([{ type: SUBSYSTEM | DELETE, flags: NLM_F_ACK, body }], "forget a connection")
    return true
  } catch (thrown) {
    if (isLinuxError(thrown, errno.ENOENT)) return false
    throw thrown
  }
}
