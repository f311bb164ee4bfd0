import { errno, isLinuxError } from "../../../core/linux/errno.ts"
import { attribute, be32, NETLINK_NETFILTER, NetlinkSocket, NLM_F_ACK, readAttributes } from "../netlink.ts"

/* Connection tracking by netlink. Numbers: linux/netfilter/nfnetlink_conntrack.h, nf_conntrack_common.h. */

const SUBSYSTEM = 1 << 8
const GET = 1
const DELETE = 2
const TUPLE_ORIGINAL = 1
const TUPLE_REPLY = 2
const STATUS = 3
const MARK = 8
const ID = 12
const MARK_MASK = 21
const NESTED = 0x8000
const TCP = 6
/** Source or destination is translated: connections some rule redirected, which must not lose their original destination. */
const TRANSLATED = 0x30
const SOURCE_TRANSLATED = 0x10

/**
 * Makes the kernel forget connections made directly to one of `ports`, in the calling thread's network namespace. What such a
 * connection sends next is unknown to connection tracking. Returns how many there were.
 * @throws LinuxError
 */
export function forgetConnections(ports: readonly number[]): number {
  const wanted = new Set(ports)
  const socket = new NetlinkSocket(NETLINK_NETFILTER)
  try {
    return trackedConnections(socket).filter((entry) => forget(socket, entry, wanted)).length
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

/**
 * Connections to which some rule gives another caller than their packets come from, in the calling thread's network namespace: by the flow
 * as the application's socket knows it, the flow as the caller's packets name it (see `connectedFlows`). @throws LinuxError
 */
export function translatedCallers(): Map<string, string> {
  const socket = new NetlinkSocket(NETLINK_NETFILTER)
  try {
    return new Map(trackedConnections(socket).flatMap(translatedCaller))
  } finally {
    socket.close()
  }
}

function trackedConnections(socket: NetlinkSocket): Buffer[] {
  const anyFamily = Buffer.alloc(4)
  return socket.dump({ type: SUBSYSTEM | GET, body: anyFamily }, "list tracked connections")
}

function translatedCaller(entry: Buffer): [seen: string, sent: string][] {
  const fields = readAttributes(entry.subarray(4))
  if (((fields.get(STATUS)?.readUInt32BE(0) ?? 0) & SOURCE_TRANSLATED) === 0) return []
  const [original, reply] = [readTuple(fields.get(TUPLE_ORIGINAL)), readTuple(fields.get(TUPLE_REPLY))]
  if (!original || !reply) return []
  const flow = (caller: Buffer, port: Buffer) =>
    Buffer.concat([caller, reply.source, port, reply.sourcePort]).toString("latin1")
  return [[flow(reply.destination, reply.destinationPort), flow(original.source, original.sourcePort)]]
}

/** Undefined: not TCP, or not whole. */
function readTuple(tuple: Buffer | undefined) {
  if (!tuple) return undefined
  const [addresses, protocol] = [1, 2].map((part) => readAttributes(readAttributes(tuple).get(part) ?? Buffer.alloc(0)))
  const source = addresses?.get(1) ?? addresses?.get(3)
  const destination = addresses?.get(2) ?? addresses?.get(4)
  const [sourcePort, destinationPort] = [protocol?.get(2), protocol?.get(3)]
  if (protocol?.get(1)?.[0] !== TCP || !source || !destination || !sourcePort || !destinationPort) return undefined
  return { source, destination, sourcePort, destinationPort }
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
