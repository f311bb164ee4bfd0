/*
 * What a rule `log group N` (nfnetlink_log) writes to a netlink socket: messages of type 0x400, each with nfgenmsg (4 bytes) and attributes.
 * Integers in the attributes are big-endian. Source: linux/netfilter/nfnetlink_log.h.
 */

const NFULNL_MSG_PACKET = 4 << 8
const NFULA_PAYLOAD = 9
const NFULA_SEQ = 12
const headerBytes = 16 + 4

export interface LoggedPacket {
  /** Counts the group's packets; one that is left out was lost. Wraps at 2^32. */
  number: number
  /** From the IP header on; a part of `bytes`, so valid as long as they are. */
  packet: Buffer
}

/** The packets of one datagram from the kernel. Lengths that do not fit end the reading. */
export function readPacketLog(bytes: Buffer): LoggedPacket[] {
  const packets: LoggedPacket[] = []
  for (let at = 0; at + 16 <= bytes.length; ) {
    const size = bytes.readUInt32LE(at)
    if (size < headerBytes || at + size > bytes.length) break
    const logged =
      bytes.readUInt16LE(at + 4) === NFULNL_MSG_PACKET ? readLogged(bytes, at + headerBytes, at + size) : undefined
    if (logged) packets.push(logged)
    at += (size + 3) & ~3
  }
  return packets
}

/** As `readAttributes`, without a map and views of what nobody asks for: this runs for every packet. */
function readLogged(bytes: Buffer, from: number, until: number): LoggedPacket | undefined {
  let number: number | undefined
  let packet: Buffer | undefined
  for (let at = from; at + 4 <= until; ) {
    const length = bytes.readUInt16LE(at)
    if (length < 4 || at + length > until) return undefined
    const type = bytes.readUInt16LE(at + 2)
    if (type === NFULA_PAYLOAD) packet = bytes.subarray(at + 4, at + length)
    else if (type === NFULA_SEQ && length === 8) number = bytes.readUInt32BE(at + 4)
    at += (length + 3) & ~3
  }
  return packet && number !== undefined ? { number, packet } : undefined
}

export interface Segment {
  /** The addresses and ports of both sides as the packet holds them: the same for all packets of one direction of a connection. */
  flow: string
  sequence: number
  syn: boolean
  ack: boolean
  fin: boolean
  rst: boolean
  bytes: Buffer
  /** The log holds only a part of the packet; `bytes` is that part. */
  cut: boolean
}

const TCP = 6
/** Hop-by-hop options, routing, destination options: next header u8, length u8 in 8 bytes without the first 8. */
const extensionHeaders: ReadonlySet<number> = new Set([0, 43, 60])
const maxExtensionHeaders = 8

/** Undefined: not TCP, a fragment, or nothing that can be read. Checksums are not looked at: packets that never left a machine have none. */
export function readSegment(packet: Buffer): Segment | undefined {
  const ip = packet.length >= 20 ? (packet[0]! >> 4 === 4 ? readIp4(packet) : readIp6(packet)) : undefined
  if (!ip || ip.tcp + 20 > packet.length) return undefined
  const { tcp, end, addresses } = ip
  const data = tcp + (packet[tcp + 12]! >> 4) * 4
  if (data < tcp + 20 || data > end || data > packet.length) return undefined
  const flags = packet[tcp + 13]!
  return {
    flow: addresses + packet.toString("latin1", tcp, tcp + 4),
    sequence: packet.readUInt32BE(tcp + 4),
    fin: (flags & 1) !== 0,
    syn: (flags & 2) !== 0,
    rst: (flags & 4) !== 0,
    ack: (flags & 16) !== 0,
    bytes: packet.subarray(data, Math.min(end, packet.length)),
    cut: end > packet.length,
  }
}

interface IpPart {
  tcp: number
  end: number
  addresses: string
}

function readIp4(packet: Buffer): IpPart | undefined {
  const tcp = (packet[0]! & 15) * 4
  const fragment = packet.readUInt16BE(6) & 0x3fff
  if (tcp < 20 || packet[9] !== TCP || fragment !== 0) return undefined
  return { tcp, end: endOf(packet.readUInt16BE(2)), addresses: packet.toString("latin1", 12, 20) }
}

function readIp6(packet: Buffer): IpPart | undefined {
  if (packet.length < 40 || packet[0]! >> 4 !== 6) return undefined
  let next = packet[6]!
  let at = 40
  for (let count = 0; extensionHeaders.has(next); count++) {
    if (count === maxExtensionHeaders || at + 8 > packet.length) return undefined
    next = packet[at]!
    at += (packet[at + 1]! + 1) * 8
  }
  if (next !== TCP) return undefined
  const length = packet.readUInt16BE(4)
  return { tcp: at, end: endOf(length === 0 ? 0 : 40 + length), addresses: packet.toString("latin1", 8, 40) }
}

/** A length of 0 stands for one that does not fit its field, which is more than a log message takes: the packet is cut. */
function endOf(length: number): number {
  return length === 0 ? Number.POSITIVE_INFINITY : length
}
