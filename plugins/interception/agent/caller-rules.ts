import type { Endpoint } from "../../../core/interceptor.ts"
import { ipv4Bytes, ipv6Bytes } from "../../../core/linux/socket-address.ts"
import type { NetlinkMessage } from "../netlink.ts"
import { forgetMarked } from "./conntrack.ts"
import { act, type Expression, match } from "./nf-expressions.ts"
import { addAddress, newAddressMap, newBaseChain, newRule, newTcpTimeouts, removeAddress } from "./nf-tables.ts"
import type { CallerRules, RuleSetOptions, Stamp } from "./rule-set.ts"

/*
 * A connection of the agent to the application never leaves the namespace, so its source can be mapped to any address: connection tracking
 * maps the answers back before they are routed away. Which address it is the rules read from the packet, so that a connection
 * needs no change of rules:
 *
 *   SO_PRIORITY   IPv4: the caller's address; IPv6: a key of the map `callers6`
 *   SO_MARK       lower half: the agent's own mark; upper half: the caller's port, or 0 for any
 *
 * Priorities mean nothing to the loopback interface, and the mark's lower half keeps clear of those of meshes (0x539, 0x111 under 0xfff).
 */

const addressMap = "callers6"
/** Before iptables' (100): whoever maps a connection first decides. */
const natPriority = 99
/**
 * Connections that are over are forgotten at once: while one is remembered, a caller that takes its port again and reaches the application
 * past the agent would be given another port by the kernel, and lose its connection with the agent's rules.
 */
const forgottenAfter = { synSent: 5, timeWait: 1, close: 1 }
const timeouts = { 4: "brief4", 6: "brief6" } as const
/** Callers' IPv6 addresses that are known at once. */
const maxAddresses = 4096
/** The kernel remembers the way to this address; the way to one of another interface it looks up for each packet of an answer. */
const cheapSource = "127.0.0.1"
const lowerHalf = 0xffff
const upperHalf = 0xffff0000

/** On connections in connection tracking, by agent; clear of what meshes have there, as the packets' mark is. */
const connectionMark = ({ ownMark, listenerPort }: OwnMarks) => ((listenerPort << 16) | ownMark) >>> 0

type OwnMarks = Pick<RuleSetOptions, "ownMark" | "listenerPort">

export function callerRules(table: string, marks: OwnMarks): NetlinkMessage[] {
  const { ownMark } = marks
  const own = [match.tcp(), match.leavingByLoopback(), match.markedExactly(ownMark, lowerHalf), match.prioritized()]
  const withPort = [...own, match.markedWith(upperHalf)]
  const rule = (...parts: Expression[][]) => newRule(table, "to_application", ...parts)
  return [
    newAddressMap(table, addressMap, 2),
    newTcpTimeouts(table, timeouts[4], 4, forgottenAfter),
    newTcpTimeouts(table, timeouts[6], 6, forgottenAfter),
    newBaseChain(table, "to_application", "nat", "postrouting", natPriority),
    rule(...own, act.markConnection(connectionMark(marks))),
    rule(...own, match.family(4), act.keepAsLongAs(timeouts[4])),
    rule(...own, match.family(6), act.keepAsLongAs(timeouts[6])),
    rule(...withPort, act.fromPriorityAndMark()),
    rule(...withPort, act.fromMappedAndMark(addressMap)),
    rule(...own, act.fromPriority()),
    rule(...own, act.fromMapped(addressMap)),
  ]
}

/** `listenerPort` sets keys apart from those of another agent in the same namespace, whose rules see the same packets. */
export function callerStamps(
  table: string,
  marks: OwnMarks,
  commit: (messages: NetlinkMessage[], what: string) => void,
): CallerRules {
  const { ownMark, listenerPort } = marks
  const keys = new Map<string, Buffer>()
  let count = 0

  /** When there are too many the oldest goes; its key comes back only after as many others. */
  function keyOf(ip: string): Buffer {
    const known = keys.get(ip)
    if (known) return known
    const key = Buffer.alloc(4)
    key.writeUInt16BE(listenerPort, 0)
    key.writeUInt16BE(count++ % (2 * maxAddresses), 2)
    const changes = [addAddress(table, addressMap, key, ipv6Bytes(ip))]
    const [oldest] = keys.size >= maxAddresses ? keys : []
    if (oldest) changes.push(removeAddress(table, addressMap, oldest[1]))
    commit(changes, "tell the rules a caller's address")
    if (oldest) keys.delete(oldest[0])
    keys.set(ip, key)
    return key
  }

  return {
    stampsFor({ ip, port }: Endpoint): Stamp[] {
      if (!isMappable(ip)) return []
      const carried = ip.includes(":") ? { priority: keyOf(ip) } : { priority: ipv4Bytes(ip), from: cheapSource }
      return [
        { ...carried, mark: ((port << 16) | ownMark) >>> 0 },
        { ...carried, mark: ownMark },
      ]
    },
    forget: () => forgetMarked(connectionMark(marks)),
  }
}

/** Loopback addresses need no rule, link-local ones mean nothing without an interface. */
const isMappable = (ip: string) => !/^(127\.|::1$|fe[89ab])/i.test(ip)
