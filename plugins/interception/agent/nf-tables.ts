import {
  attribute,
  be16,
  be32,
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
} from "../netlink.ts"
import { type Expression, NFPROTO_INET, NFPROTO_OF, OBJECT_CT_TIMEOUT, TCP } from "./nf-expressions.ts"

/*
 * The part of nf_tables that a port redirect needs, in the `inet` family (IPv4 and IPv6 at once).
 * Numbers: linux/netfilter/nf_tables.h.
 */

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
const NEWOBJ = 18

/** The table lives as long as the socket that made it and nobody else may change it (Linux 5.12). */
export const TABLE_OWNED = 2
const SET_IS_MAP = 8
/** How `nft` calls the data types of an IPv6 address, of a port, of a packet's mark. */
const TYPE_IPV6_ADDRESS = 8
const TYPE_INET_SERVICE = 13
const TYPE_MARK = 19
/** A message's attributes have 16-bit lengths; an element takes up to 28 bytes. */
const elementsPerMessage = 2000
const NESTED = 0x8000
/** Attributes of a timeout object. Source: linux/netfilter/nfnetlink_cttimeout.h. */
const tcpStates = { synSent: 1, timeWait: 7, close: 8 } as const

export const hooks = { prerouting: 0, input: 1, output: 3, postrouting: 4 } as const

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

function newMap(table: string, map: string, id: number, key: [type: number, bytes: number], value: typeof key) {
  return change(
    NEWSET,
    NLM_F_CREATE,
    attribute(1, text(table)),
    attribute(2, text(map)),
    attribute(3, be32(SET_IS_MAP)),
    attribute(4, be32(key[0])),
    attribute(5, be32(key[1])),
    attribute(6, be32(value[0])),
    attribute(7, be32(value[1])),
    attribute(10, be32(id)),
  )
}

/** A map from a port to the port it is redirected to. */
export const newPortMap = (table: string, map: string, id: number) =>
  newMap(table, map, id, [TYPE_INET_SERVICE, 2], [TYPE_INET_SERVICE, 2])

/** A set of ports. */
export const newPortSet = (table: string, set: string, id: number) =>
  change(
    NEWSET,
    NLM_F_CREATE,
    attribute(1, text(table)),
    attribute(2, text(set)),
    attribute(3, be32(0)),
    attribute(4, be32(TYPE_INET_SERVICE)),
    attribute(5, be32(2)),
    attribute(10, be32(id)),
  )

/** A map from four bytes to an IPv6 address. */
export const newAddressMap = (table: string, map: string, id: number) =>
  newMap(table, map, id, [TYPE_MARK, 4], [TYPE_IPV6_ADDRESS, 16])

/** How long connection tracking keeps TCP connections in these states, in seconds. @param family of the connections */
export const newTcpTimeouts = (
  table: string,
  name: string,
  family: keyof typeof NFPROTO_OF,
  seconds: Partial<Record<keyof typeof tcpStates, number>>,
) =>
  change(
    NEWOBJ,
    NLM_F_CREATE,
    attribute(1, text(table)),
    attribute(2, text(name)),
    attribute(3, be32(OBJECT_CT_TIMEOUT)),
    nested(
      4,
      attribute(1, be16(NFPROTO_OF[family])),
      attribute(2, Buffer.from([TCP])),
      nested(3, ...Object.entries(seconds).map(([state, s]) => attribute(tcpStates[state as "close"], be32(s)))),
    ),
  )

/** `address`: its 16 bytes. */
export const addAddress = (table: string, map: string, key: Buffer, address: Uint8Array) =>
  element(NEWSETELEM, NLM_F_CREATE, table, map, nested(1, attribute(1, key)), nested(2, attribute(1, address)))

export const removeAddress = (table: string, map: string, key: Buffer) =>
  element(DELSETELEM, 0, table, map, nested(1, attribute(1, key)))

const element = (type: number, flags: number, table: string, map: string, ...parts: Buffer[]) =>
  change(type, flags, attribute(1, text(table)), attribute(2, text(map)), nested(3, nested(1, ...parts)))

/** `to`: what the ports are mapped to; undefined in a set. */
export const addPorts = (table: string, map: string, ports: readonly number[], to?: number) =>
  elements(
    NEWSETELEM,
    NLM_F_CREATE,
    table,
    map,
    ports,
    to === undefined ? undefined : nested(2, attribute(1, be16(to))),
  )

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

  /** The keys of a map made by `newPortMap`, or what is in a set made by `newPortSet`. @throws LinuxError */
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

  /** `move` gives the socket's descriptor another number and returns it. */
  moveDescriptor(move: (fd: number) => number): void {
    this.#socket.moveDescriptor(move)
  }

  /** Also ends every owned table made through it. */
  close(): void {
    this.#socket.close()
  }
}

const nameIn = (data: Buffer | undefined) => data?.subarray(0, data.indexOf(0)).toString() ?? ""
