import {
  attribute,
  be16,
  be32,
  host32,
  listAttributes,
  NETLINK_NETFILTER,
  type NetlinkMessage,
  NetlinkSocket,
  NLM_F_ACK,
  NLM_F_APPEND,
  NLM_F_CREATE,
  nested,
  readAttributes,
  text,
} from "./netlink.ts"

/*
 * The part of nf_tables that a port redirect needs, in the `inet` family (IPv4 and IPv6 at once).
 * Numbers: linux/netfilter/nf_tables.h; each expression is a nested list element with a name and its own attributes.
 */

const NFPROTO_INET = 1
/** Families of the tables the iptables-nft programs make. */
const NFPROTO_OF = { 4: 2, 6: 10 } as const
const SUBSYSTEM = 10 << 8
const BATCH_BEGIN = 0x10
const BATCH_END = 0x11
const NEWTABLE = 0
const GETTABLE = 1
const DELTABLE = 2
const NEWCHAIN = 3
const GETCHAIN = 4
const NEWRULE = 6
const NEWSET = 9
const NEWSETELEM = 12
const GETSETELEM = 13
const DELSETELEM = 14

/** The table lives as long as the socket that made it and nobody else may change it (Linux 5.12). */
export const TABLE_OWNED = 2
const SET_IS_MAP = 8
/** How `nft` calls the data type of a port. */
const TYPE_INET_SERVICE = 13
const TCP = 6
/** A message's attributes have 16-bit lengths; an element takes up to 28 bytes. */
const elementsPerMessage = 2000
const RETURN = -5
const NESTED = 0x8000

export const hooks = { prerouting: 0, input: 1, output: 3 } as const

// ---- expressions; what is compared stands in register 1

type Expression = Buffer

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
const meta = (key: number): Expression => expression("meta", register(1), attribute(2, be32(key)))
const transportHeader = (offset: number, length: number): Expression =>
  expression("payload", register(1), attribute(2, be32(2)), attribute(3, be32(offset)), attribute(4, be32(length)))
/** Is register 1 a key of the map? Its value goes to register 2. */
const inMap = (map: string): Expression =>
  expression("lookup", attribute(1, text(map)), register(2), attribute(3, be32(2)))

const META_MARK = 3
const META_OIFTYPE = 9
const META_L4PROTO = 16
const ARPHRD_LOOPBACK = Buffer.from(new Uint16Array([772]).buffer)
const RTN_LOCAL = 2
const CT_STATE_NEW = 8
const NAT_DESTINATION = 1

export const match = {
  tcp: () => [meta(META_L4PROTO), equals(Buffer.from([TCP]))],
  /** The first packet of a connection: SYN without FIN, RST, ACK. */
  opening: () => [transportHeader(13, 1), masked(Buffer.from([0x17])), equals(Buffer.from([0x02]))],
  notOpening: () => [transportHeader(13, 1), masked(Buffer.from([0x17])), equals(Buffer.from([0x02]), true)],
  destinationPortIn: (map: string) => [transportHeader(2, 2), inMap(map)],
  sourcePortIn: (map: string) => [transportHeader(0, 2), inMap(map)],
  leavingByLoopback: () => [meta(META_OIFTYPE), equals(ARPHRD_LOOPBACK)],
  markedWith: (mark: number) => [meta(META_MARK), masked(host32(mark)), equals(host32(0), true)],
  /** All bits under `mask` are as in `mark`. */
  markedExactly: (mark: number, mask: number) => [meta(META_MARK), masked(host32(mask)), equals(host32(mark))],
  destinationPort: (port: number) => [transportHeader(2, 2), equals(be16(port))],
  /** Destination is an address of this namespace. */
  toHere: () => [
    expression("fib", register(1), attribute(2, be32(3)), attribute(3, be32(2))),
    equals(host32(RTN_LOCAL)),
  ],
  unknownToConntrack: () => [
    expression("ct", register(1), attribute(2, be32(0))),
    masked(host32(CT_STATE_NEW)),
    equals(host32(0), true),
  ],
}

/** Maps the destination's port to the one in register 2; the address stays. */
const toPortInRegister2 = expression(
  "nat",
  attribute(1, be32(NAT_DESTINATION)),
  attribute(2, be32(NFPROTO_INET)),
  attribute(5, be32(2)),
)

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
  resetConnection: () => [expression("reject", attribute(1, be32(1)))],
}

// ---- messages

const body = (family: number, resource: number, ...attributes: Buffer[]) =>
  Buffer.concat([Buffer.from([family, 0, resource >> 8, resource & 0xff]), ...attributes])
const change = (type: number, flags: number, ...attributes: Buffer[]): NetlinkMessage => ({
  type: SUBSYSTEM | type,
  flags: NLM_F_ACK | flags,
  body: body(NFPROTO_INET, 0, ...attributes),
})
const batchEdge = (type: number): NetlinkMessage => ({ type, flags: 0, body: body(0, 10) })

export const newTable = (table: string, flags: number) =>
  change(NEWTABLE, NLM_F_CREATE, attribute(1, text(table)), attribute(2, be32(flags)))

export const deleteTable = (table: string) => change(DELTABLE, 0, attribute(1, text(table)))

export function newBaseChain(
  table: string,
  chain: string,
  kind: "nat" | "filter",
  hook: keyof typeof hooks,
  priority: number,
): NetlinkMessage {
  const where = nested(4, attribute(1, be32(hooks[hook])), attribute(2, be32(priority)))
  const accept = attribute(5, be32(1))
  const names = [attribute(1, text(table)), attribute(3, text(chain))]
  return change(NEWCHAIN, NLM_F_CREATE, ...names, where, accept, attribute(7, text(kind)))
}

export const newRule = (table: string, chain: string, ...parts: Expression[][]) =>
  change(
    NEWRULE,
    NLM_F_CREATE | NLM_F_APPEND,
    attribute(1, text(table)),
    attribute(2, text(chain)),
    nested(4, ...parts.flat()),
  )

/** A map from a port to the port it is redirected to. */
export const newPortMap = (table: string, map: string, id: number) =>
  change(
    NEWSET,
    NLM_F_CREATE,
    attribute(1, text(table)),
    attribute(2, text(map)),
    attribute(3, be32(SET_IS_MAP)),
    attribute(4, be32(TYPE_INET_SERVICE)),
    attribute(5, be32(2)),
    attribute(6, be32(TYPE_INET_SERVICE)),
    attribute(7, be32(2)),
    attribute(10, be32(id)),
  )

export const addPorts = (table: string, map: string, ports: readonly number[], to: number) =>
  elements(NEWSETELEM, NLM_F_CREATE, table, map, ports, nested(2, attribute(1, be16(to))))

export const removePorts = (table: string, map: string, ports: readonly number[]) =>
  elements(DELSETELEM, 0, table, map, ports)

function elements(
  type: number,
  flags: number,
  table: string,
  map: string,
  ports: readonly number[],
  value: Buffer = Buffer.alloc(0),
): NetlinkMessage[] {
  const messages: NetlinkMessage[] = []
  for (let at = 0; at < ports.length; at += elementsPerMessage) {
    const list = attribute(3 | NESTED, portElements(ports.slice(at, at + elementsPerMessage), value))
    messages.push(change(type, flags, attribute(1, text(table)), attribute(2, text(map)), list))
  }
  return messages
}

/** One template, copied and filled in: thousands of ports at once are common enough to matter. */
function portElements(ports: readonly number[], value: Buffer): Buffer {
  const template = nested(1, nested(1, attribute(1, be16(0))), value)
  const bytes = Buffer.allocUnsafe(ports.length * template.length)
  for (const [index, port] of ports.entries()) {
    template.writeUInt16BE(port, 12)
    bytes.set(template, index * template.length)
  }
  return bytes
}

// ---- talking

/** nf_tables of the network namespace the thread is in when this is made. */
export class NfTables {
  readonly #socket = new NetlinkSocket(NETLINK_NETFILTER)

  /** All or nothing. @throws LinuxError */
  commit(messages: readonly NetlinkMessage[], what: string): void {
    this.#socket.send([batchEdge(BATCH_BEGIN), ...messages, batchEdge(BATCH_END)], what)
  }

  /** Names of the `inet` tables. @throws LinuxError */
  tables(): string[] {
    const bodies = this.#socket.dump({ type: SUBSYSTEM | GETTABLE, body: body(NFPROTO_INET, 0) }, "list nf_tables")
    return bodies.map((found) => nameIn(readAttributes(found.subarray(4)).get(1)))
  }

  /** Names of the chains in table `nat` of one family, where the iptables-nft programs keep theirs. @throws LinuxError */
  natChains(family: 4 | 6): string[] {
    const bodies = this.#socket.dump({ type: SUBSYSTEM | GETCHAIN, body: body(NFPROTO_OF[family], 0) }, "list chains")
    return bodies
      .map((found) => readAttributes(found.subarray(4)))
      .filter((chain) => nameIn(chain.get(1)) === "nat")
      .map((chain) => nameIn(chain.get(3)))
  }

  /** The keys of a map made by `newPortMap`. @throws LinuxError */
  ports(table: string, map: string): number[] {
    const which = body(NFPROTO_INET, 0, attribute(1, text(table)), attribute(2, text(map)))
    return this.#socket.dump({ type: SUBSYSTEM | GETSETELEM, body: which }, "list ports").flatMap((found) => {
      const list = readAttributes(found.subarray(4)).get(3)
      if (!list) return []
      return listAttributes(list).map(({ data }) => {
        const key = readAttributes(data).get(1)
        return (key && readAttributes(key).get(1)?.readUInt16BE(0)) ?? 0
      })
    })
  }

  /** Also ends every owned table made through it. */
  close(): void {
    this.#socket.close()
  }
}

const nameIn = (data: Buffer | undefined) => data?.subarray(0, data.indexOf(0)).toString() ?? ""
