import type { NetlinkMessage } from "../netlink.ts"
import { act, match } from "./nf-expressions.ts"
import { newBaseChain, newPortSet, newRule } from "./nf-tables.ts"
import { copiedPorts } from "./nf-tables-names.ts"
import type { RuleSetOptions } from "./rule-set.ts"

/*
 * Copies of what goes to the application, for the agent to read from a netlink socket (nfnetlink_log). Nothing is changed on the way and
 * nobody waits for the reader: without one, or when it is slow, the copies are lost and the packets are not. The rules stand where
 * addresses and ports are the application's own, so what a mesh's proxy takes is not seen and what it brings is.
 */

/** Ports that are copied no more, while connections are that began before. New ones to them are diverted, or of no interest. */
export const formerlyCopiedPorts = "formerly_copied"

/** Behind filters (0) and SELinux (50), which may drop a packet. */
const priority = 60
/**
 * A message of the log takes packets of at most 65531 bytes. Those of the loopback are larger (65535), unless segments are limited so that
 * an even number of them fills a packet.
 */
const maxSegmentBytes = 32_000
/** Both headers, with all their options. */
const headerBytes = 128

/** Chains and sets for a table that exists. @param handedElsewhere tells packets that do not go to the application though its port is theirs */
export function copyRules(
  table: string,
  { ownMark }: Pick<RuleSetOptions, "ownMark">,
  group: number,
  handedElsewhere: ReturnType<typeof match.markedExactly>,
): NetlinkMessage[] {
  const to = (set: string) => [match.tcp(), match.destinationPortInSet(set)]
  const from = (set: string) => [match.tcp(), match.sourcePortInSet(set)]
  const incoming = (...parts: Parameters<typeof newRule>[2][]) => newRule(table, "copy_incoming", ...parts)
  const outgoing = (...parts: Parameters<typeof newRule>[2][]) => newRule(table, "copy_ends", ...parts)
  return [
    newPortSet(table, copiedPorts, 2),
    newPortSet(table, formerlyCopiedPorts, 3),
    newBaseChain(table, "copy_incoming", "filter", "input", priority),
    newBaseChain(table, "copy_ends", "filter", "output", priority),
    incoming(match.markedWith(ownMark), act.leaveAlone()),
    // On the loopback the same mark is on what the proxy sends to the application.
    incoming(match.comingFromElsewhere(), handedElsewhere, act.leaveAlone()),
    incoming(match.invalid(), act.leaveAlone()),
    // A packet may meet one set before a change and the other after it: so ports enter the second set with that change, and leave it later.
    ...[copiedPorts, formerlyCopiedPorts].flatMap((set) => [
      incoming(...to(set), act.logTo(group), act.leaveAlone()),
      outgoing(...from(set), match.accepting(), act.limitSegments(maxSegmentBytes)),
      outgoing(...from(set), match.ending(), act.logTo(group, headerBytes), act.leaveAlone()),
    ]),
  ]
}
