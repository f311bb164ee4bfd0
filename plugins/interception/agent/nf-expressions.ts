import { attribute, be16, be32, host32, nested, text } from "../netlink.ts"

/*
 * What rules look at and do. Each expression is a nested list element with a name and its own attributes; what is compared stands in
 * register 1. Numbers: linux/netfilter/nf_tables.h, linux/netfilter/nf_nat.h.
 */

export const NFPROTO_INET = 1
/** Families of the tables the iptables-nft programs make, and of addresses. */
export const NFPROTO_OF = { 4: 2, 6: 10 } as const
export const TCP = 6
const RETURN = -5

export type Expression = Buffer

const expression = (name: string, ...attributes: Buffer[]): Expression =>
  nested(1, attribute(1, text(name)), nested(2, ...attributes))
const register = (type: number) => attribute(type, be32(1))
const equals = (value: Buffer, negate = false): Expression =>
  expression("cmp", register(1), attribute(2, be32(negate ? 1 : 0)), nested(3, attribute(1, value)))
const masked = (mask: Buffer): Expression =>
  expression(
    "bitwise",
    register(1),
    register(2),
    attribute(3, be32(mask.length)),
    nested(4, attribute(1, mask)),
    nested(5, attribute(1, Buffer.alloc(mask.length))),
  )
const meta = (key: number, to = 1): Expression => expression("meta", attribute(1, be32(to)), attribute(2, be32(key)))
const transportHeader = (offset: number, length: number): Expression =>
  expression("payload", register(1), attribute(2, be32(2)), attribute(3, be32(offset)), attribute(4, be32(length)))
/** Is register 1 a key of the map? Its value goes to register 2. */
const inMap = (map: string): Expression =>
  expression("lookup", attribute(1, text(map)), register(2), attribute(3, be32(2)))
const inSet = (set: string): Expression => expression("lookup", attribute(1, text(set)), register(2))
const tcpFlags = (mask: number, wanted: number, negate = false) => [
  transportHeader(13, 1),
  masked(Buffer.from([mask])),
  equals(Buffer.from([wanted]), negate),
]

const META_PRIORITY = 2
const META_MARK = 3
const META_IIFTYPE = 8
const META_OIFTYPE = 9
const META_NFPROTO = 15
const META_L4PROTO = 16
const ARPHRD_LOOPBACK = Buffer.from(new Uint16Array([772]).buffer)
const RTN_LOCAL = 2
const CT_STATE_INVALID = 1
const CT_STATE_NEW = 8
const CT_MARK = 3
export const OBJECT_CT_TIMEOUT = 7
const LOG_SNAPLEN = 3
const EXTHDR_OP_TCPOPT = 1
const TCP_OPTION_MAXSEG = 2
const NAT_SOURCE = 0
const NAT_DESTINATION = 1

export const match = {
  family: (family: keyof typeof NFPROTO_OF) => [meta(META_NFPROTO), equals(Buffer.from([NFPROTO_OF[family]]))],
  tcp: () => [meta(META_L4PROTO), equals(Buffer.from([TCP]))],
  /** The first packet of a connection: SYN without FIN, RST, ACK. */
  opening: () => tcpFlags(0x17, 0x02),
  notOpening: () => tcpFlags(0x17, 0x02, true),
  /** The second packet of a connection: SYN and ACK. */
  accepting: () => tcpFlags(0x12, 0x12),
  /** FIN or RST. */
  ending: () => tcpFlags(0x05, 0, true),
  destinationPortIn: (map: string) => [transportHeader(2, 2), inMap(map)],
  sourcePortIn: (map: string) => [transportHeader(0, 2), inMap(map)],
  destinationPortInSet: (set: string) => [transportHeader(2, 2), inSet(set)],
  sourcePortInSet: (set: string) => [transportHeader(0, 2), inSet(set)],
  comingFromElsewhere: () => [meta(META_IIFTYPE), equals(ARPHRD_LOOPBACK, true)],
  leavingByLoopback: () => [meta(META_OIFTYPE), equals(ARPHRD_LOOPBACK)],
  markedWith: (mark: number) => [meta(META_MARK), masked(host32(mark)), equals(host32(0), true)],
  /** All bits under `mask` are as in `mark`. */
  markedExactly: (mark: number, mask: number) => [meta(META_MARK), masked(host32(mask)), equals(host32(mark))],
  /** The sender's socket has a priority. */
  prioritized: () => [meta(META_PRIORITY), equals(host32(0), true)],
  destinationPort: (port: number) => [transportHeader(2, 2), equals(be16(port))],
  /** Destination is an address of this namespace. */
  toHere: () => [
    expression("fib", register(1), attribute(2, be32(3)), attribute(3, be32(2))),
    equals(host32(RTN_LOCAL)),
  ],
  unknownToConntrack: () => connectionState(CT_STATE_NEW),
  /** Its checksum is wrong, or it is outside of what the receiver takes. */
  invalid: () => connectionState(CT_STATE_INVALID),
}

function connectionState(state: number): Expression[] {
  return [expression("ct", register(1), attribute(2, be32(0))), masked(host32(state)), equals(host32(0), true)]
}

/** Maps the destination's port to the one in register 2; the address stays. */
const toPortInRegister2 = expression(
  "nat",
  attribute(1, be32(NAT_DESTINATION)),
  attribute(2, be32(NFPROTO_INET)),
  attribute(5, be32(2)),
)

/** The upper half of the packet's mark, in network order, comes to stand where a port is read from register 3. */
const portOfMarkToRegister3 = [
  meta(META_MARK, 3),
  expression(
    "byteorder",
    attribute(1, be32(3)),
    attribute(2, be32(3)),
    attribute(3, be32(1)),
    attribute(4, be32(4)),
    attribute(5, be32(4)),
  ),
]
const fromAddressInRegister2 = (family: keyof typeof NFPROTO_OF, ...port: Buffer[]) =>
  expression(
    "nat",
    attribute(1, be32(NAT_SOURCE)),
    attribute(2, be32(NFPROTO_OF[family])),
    attribute(3, be32(2)),
    ...port,
  )
const fromPortInRegister3 = attribute(5, be32(3))

export const act = {
  /** To the port the last map gave, on the address the connection was made to. */
  toMappedPort: () => [toPortInRegister2],
  /** To the port the last map gave, on an address of the interface: what kernels can that do not know the form above. */
  redirectAsMapped: () => [expression("redir", attribute(1, be32(2)))],
  /** No later nat rule of any table is asked: the connection is mapped, to where it goes anyway. */
  keepPort: (port: number) => [
    expression("immediate", attribute(1, be32(2)), nested(2, attribute(1, be16(port)))),
    toPortInRegister2,
  ],
  leaveAlone: () => [expression("immediate", attribute(1, be32(0)), nested(2, nested(2, attribute(1, be32(RETURN)))))],
  /** To whoever listens to the group; `bytes`: no more of the packet than this. */
  logTo: (group: number, bytes?: number) => [
    expression("log", attribute(1, be16(group)), ...(bytes === undefined ? [] : [attribute(LOG_SNAPLEN, be32(bytes))])),
  ],
  /** The sender of this SYN takes no larger segments; a smaller limit stays. */
  limitSegments: (bytes: number) => [
    expression("immediate", attribute(1, be32(1)), nested(2, attribute(1, be16(bytes)))),
    expression(
      "exthdr",
      attribute(2, Buffer.from([TCP_OPTION_MAXSEG])),
      attribute(3, be32(2)),
      attribute(4, be32(2)),
      attribute(6, be32(EXTHDR_OP_TCPOPT)),
      attribute(7, be32(1)),
    ),
  ],
  resetConnection: () => [expression("reject", attribute(1, be32(1)))],
  /** The connection gets a mark that `forgetMarked` finds it by. */
  markConnection: (mark: number) => [
    expression("immediate", attribute(1, be32(1)), nested(2, attribute(1, host32(mark)))),
    expression("ct", attribute(2, be32(CT_MARK)), attribute(4, be32(1))),
  ],
  /** Connection tracking keeps the connection for as long as an object of `newTcpTimeouts` says. */
  keepAsLongAs: (name: string) => [
    expression("objref", attribute(1, be32(OBJECT_CT_TIMEOUT)), attribute(2, text(name))),
  ],
  /** The source becomes the IPv4 address the priority consists of; other families go on to the next rule. */
  fromPriority: () => [meta(META_PRIORITY, 2), fromAddressInRegister2(4)],
  /** And its port the upper half of the mark. */
  fromPriorityAndMark: () => [
    meta(META_PRIORITY, 2),
    ...portOfMarkToRegister3,
    fromAddressInRegister2(4, fromPortInRegister3),
  ],
  /** The source becomes the IPv6 address the map has for the priority; other families go on to the next rule. */
  fromMapped: (map: string) => [meta(META_PRIORITY), inMap(map), fromAddressInRegister2(6)],
  fromMappedAndMark: (map: string) => [
    meta(META_PRIORITY),
    inMap(map),
    ...portOfMarkToRegister3,
    fromAddressInRegister2(6, fromPortInRegister3),
  ],
}
