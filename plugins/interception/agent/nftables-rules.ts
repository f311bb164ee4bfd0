import { errno, isLinuxError } from "../../../core/linux/errno.ts"
import type { NetlinkMessage } from "../netlink.ts"
import { callerRules, callerStamps } from "./caller-rules.ts"
import { removeLeftovers } from "./leftovers.ts"
import { act, match } from "./nf-expressions.ts"
import { PortSets } from "./nf-port-sets.ts"
import { deleteTable, NfTables, newBaseChain, newPortMap, newRule, newTable, TABLE_OWNED } from "./nf-tables.ts"
import { portMap, tableName } from "./nf-tables-names.ts"
import type { RuleSet, RuleSetOptions } from "./rule-set.ts"
import { startGuard } from "./rules-guard.ts"
import { refuseTaken } from "./taken-ports.ts"

/**
 * One step behind iptables' nat rules (-100): a mesh that redirects a port first keeps it, and its proxy's own connection to the
 * application is then caught on the way out, decrypted. Whoever maps a connection first wins, so no mesh needs to be recognised.
 */
const natPriority = -99
const filterPriority = 0

/** Kernels differ in what they know; the richest form that is accepted is used. */
interface Form {
  /** The table is owned by this process's socket and vanishes with it (Linux 5.12). */
  owned: boolean
  /** Connections keep the address they were made to, also those a mesh makes in the name of callers elsewhere. */
  keepAddress: boolean
  /** The expression that tells whose address it is. */
  fib: boolean
  /** The application sees its callers' addresses. */
  callers: boolean
}

/** The mark of connections that Istio's ambient mode hands to its proxy without changing where they go; to divert them would tear them. */
const handedToAmbient = { mark: 0x111, mask: 0xfff }

/**
 * `inet` table with one map of ports; adding a port is adding an element. The table is owned by this process's socket and
 * vanishes with it; where the kernel cannot do that, or when `owned` is false, a guard process removes it.
 * @throws LinuxError
 */
export function openNfTablesRules(options: RuleSetOptions, owned = true): RuleSet {
  const tables = new NfTables()
  const table = tableName(options.holder, options.listenerPort)
  let dismissGuard: (() => void) | undefined
  let form: Form
  try {
    removeLeftovers(tables)
    form = createTable(tables, table, options, owned)
    if (form.owned) tables.moveDescriptor(options.closeLast)
    else dismissGuard = startGuard({ backend: "nf_tables", table })
  } catch (thrown) {
    tables.close()
    throw thrown
  }
  const commit = (messages: readonly NetlinkMessage[], what: string) => tables.commit(messages, what)
  const ports = new PortSets({
    table,
    options,
    commit,
    handedElsewhere: match.markedExactly(handedToAmbient.mark, handedToAmbient.mask),
    refuseTaken: (wanted) => refuseTaken(tables, [table], wanted),
  })

  function deleteAndClose(): void {
    try {
      tables.commit([deleteTable(table)], "delete the table")
    } finally {
      tables.close()
      dismissGuard?.()
    }
  }

  const callers = form.callers ? callerStamps(table, options, commit) : undefined
  return {
    backend: "nf_tables",
    callers,
    copies: ports,
    add: (wanted) => ports.divert(wanted),
    remove: (unwanted) => ports.remove(unwanted),
    close() {
      try {
        callers?.forget()
      } finally {
        deleteAndClose()
      }
    },
  }
}

function createTable(tables: NfTables, table: string, options: RuleSetOptions, mayOwn: boolean): Form {
  const either = [true, false]
  const forms = either.flatMap((owned) =>
    either.flatMap((keepAddress) =>
      either.flatMap((fib) => either.map((callers) => ({ owned, keepAddress, fib, callers }))),
    ),
  )
  const possible = forms.filter(({ owned, callers }) => (mayOwn || !owned) && (options.keepCallers || !callers))
  for (const [index, form] of possible.entries()) {
    try {
      tables.commit(tableMessages(table, options, form), "create an nf_tables table")
      return form
    } catch (thrown) {
      const unknownFeature = isLinuxError(thrown, errno.EOPNOTSUPP, errno.EINVAL, errno.ENOENT, errno.EAFNOSUPPORT)
      if (!unknownFeature || index === possible.length - 1) throw thrown
    }
  }
  throw new Error("no form of a table")
}

function tableMessages(table: string, options: RuleSetOptions, form: Form): NetlinkMessage[] {
  const opening = [match.tcp(), match.opening(), match.destinationPortIn(portMap)]
  const redirect = form.keepAddress ? act.toMappedPort() : act.redirectAsMapped()
  const messages = [
    newTable(table, form.owned ? TABLE_OWNED : 0),
    newPortMap(table, portMap, 1),
    newBaseChain(table, "incoming", "nat", "prerouting", natPriority),
    newBaseChain(table, "within_pod", "nat", "output", natPriority),
    newRule(table, "incoming", match.markedExactly(handedToAmbient.mark, handedToAmbient.mask), act.leaveAlone()),
    // Only what is meant for this namespace: traffic it forwards (a node's namespace, for one) is nobody's business here.
    newRule(table, "incoming", ...opening, ...(form.fib ? [match.toHere()] : []), redirect),
    newRule(table, "within_pod", match.markedWith(options.ownMark), act.leaveAlone()),
    newRule(table, "within_pod", match.leavingByLoopback(), ...opening, redirect),
  ]
  if (form.callers) messages.push(...callerRules(table, options))
  if (options.flush) messages.push(...flushChains(table))
  return messages
}

/** A packet in the middle of a connection that connection tracking does not know (any more) is answered by a reset, on both sides. */
function flushChains(table: string): NetlinkMessage[] {
  const stray = [match.tcp(), match.notOpening(), match.unknownToConntrack()]
  return [
    newBaseChain(table, "cut_incoming", "filter", "input", filterPriority),
    newBaseChain(table, "cut_outgoing", "filter", "output", filterPriority),
    newRule(table, "cut_incoming", ...stray, match.destinationPortIn(portMap), act.resetConnection()),
    newRule(table, "cut_outgoing", ...stray, match.sourcePortIn(portMap), act.resetConnection()),
  ]
}
