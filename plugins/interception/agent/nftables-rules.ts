import { AppError } from "../../../core/errors.ts"
import { errno, isLinuxError } from "../../../core/linux/errno.ts"
import type { NetlinkMessage } from "./netlink.ts"
import {
  act,
  addPorts,
  deleteTable,
  match,
  NfTables,
  newBaseChain,
  newPortMap,
  newRule,
  newTable,
  removePorts,
  TABLE_OWNED,
} from "./nf-tables.ts"
import type { RuleSet, RuleSetOptions } from "./rule-set.ts"
import { isListening } from "./sockets-of-namespace.ts"

const tablePrefix = "podside_"
const ports = "ports"
/**
 * One step behind iptables' nat rules (-100): a mesh that redirects a port first keeps it, and its proxy's own connection to the
 * application is then caught on the way out, decrypted. Whoever maps a connection first wins, so no mesh needs to be recognised.
 */
const natPriority = -99
const filterPriority = 0

/**
 * `inet` table with one map of ports; adding a port is adding an element. The table is owned by this process's socket and
 * vanishes with it; on kernels without owned tables (before 5.12) leftovers are recognised by their dead listener and removed.
 * @throws LinuxError
 */
export function openNfTablesRules(options: RuleSetOptions): RuleSet {
  const tables = new NfTables()
  const table = `${tablePrefix}${options.holder}_${options.listenerPort}`
  try {
    removeLeftovers(tables)
    createTable(tables, table, options)
  } catch (thrown) {
    tables.close()
    throw thrown
  }
  const present = new Set<number>()

  function add(wanted: readonly number[]): void {
    const added = [...new Set(wanted)].filter((port) => !present.has(port))
    if (added.length === 0) return
    refuseTaken(tables, table, added)
    tables.commit(addPorts(table, ports, added, options.listenerPort), "redirect ports")
    try {
      // Somebody else may have added the same port between the look and the act; then both step back.
      refuseTaken(tables, table, added)
    } catch (thrown) {
      tables.commit(removePorts(table, ports, added), "give ports back")
      throw thrown
    }
    for (const port of added) present.add(port)
  }

  return {
    backend: "nf_tables",
    add,
    remove(unwanted) {
      const removed = [...new Set(unwanted)].filter((port) => present.delete(port))
      if (removed.length > 0) tables.commit(removePorts(table, ports, removed), "stop redirecting ports")
    },
    close() {
      try {
        tables.commit([deleteTable(table)], "delete the table")
      } finally {
        tables.close()
      }
    },
  }
}

/** Kernels differ in owned tables and in the `fib` expression; the richest form that is accepted is used. */
function createTable(tables: NfTables, table: string, options: RuleSetOptions): void {
  const forms = [
    { owned: true, fib: true },
    { owned: true, fib: false },
    { owned: false, fib: true },
    { owned: false, fib: false },
  ]
  for (const [index, form] of forms.entries()) {
    try {
      tables.commit(tableMessages(table, options, form), "create an nf_tables table")
      return
    } catch (thrown) {
      const unknownFeature = isLinuxError(thrown, errno.EOPNOTSUPP, errno.EINVAL, errno.ENOENT)
      if (!unknownFeature || index === forms.length - 1) throw thrown
    }
  }
}

function tableMessages(
  table: string,
  options: RuleSetOptions,
  form: { owned: boolean; fib: boolean },
): NetlinkMessage[] {
  const opening = [match.tcp(), match.opening(), match.destinationPortIn(ports)]
  const redirect = act.redirectAsMapped()
  const messages = [
    newTable(table, form.owned ? TABLE_OWNED : 0),
    newPortMap(table, ports, 1),
    newBaseChain(table, "incoming", "nat", "prerouting", natPriority),
    newBaseChain(table, "within_pod", "nat", "output", natPriority),
    // Only what is meant for this namespace: traffic it forwards (a node's namespace, for one) is nobody's business here.
    newRule(table, "incoming", ...opening, ...(form.fib ? [match.toHere()] : []), redirect),
    newRule(table, "within_pod", match.markedWith(options.ownMark), act.leaveAlone()),
    newRule(table, "within_pod", match.leavingByLoopback(), ...opening, redirect),
  ]
  if (options.flush) messages.push(...flushChains(table))
  return messages
}

/** A packet in the middle of a connection that connection tracking does not know (any more) is answered by a reset, on both sides. */
function flushChains(table: string): NetlinkMessage[] {
  const stray = [match.tcp(), match.notOpening(), match.unknownToConntrack()]
  return [
    newBaseChain(table, "cut_incoming", "filter", "input", filterPriority),
    newBaseChain(table, "cut_outgoing", "filter", "output", filterPriority),
    newRule(table, "cut_incoming", ...stray, match.destinationPortIn(ports), act.resetConnection()),
    newRule(table, "cut_outgoing", ...stray, match.sourcePortIn(ports), act.resetConnection()),
  ]
}

function refuseTaken(tables: NfTables, own: string, wanted: readonly number[]): void {
  for (const table of tables.tables()) {
    if (table === own || !table.startsWith(tablePrefix)) continue
    const held = new Set(portsOf(tables, table))
    const port = wanted.find((candidate) => held.has(candidate))
    if (port === undefined) continue
    throw new AppError(
      "port-taken",
      `Port ${port} is already taken by the agent that made the nf_tables table "${table}"`,
      {
        next: "End that session, or use another port.",
      },
    )
  }
}

function portsOf(tables: NfTables, table: string): number[] {
  try {
    return tables.ports(table, ports)
  } catch (thrown) {
    // It went away between the two listings.
    if (isLinuxError(thrown, errno.ENOENT)) return []
    throw thrown
  }
}

function removeLeftovers(tables: NfTables): void {
  for (const table of tables.tables()) {
    const listenerPort = Number(table.slice(table.lastIndexOf("_") + 1))
    if (!table.startsWith(tablePrefix) || isListening(listenerPort)) continue
    try {
      tables.commit([deleteTable(table)], "delete a leftover table")
    } catch (thrown) {
      // EPERM: owned by a process that is just ending; ENOENT: gone already.
      if (!isLinuxError(thrown, errno.EPERM, errno.ENOENT)) throw thrown
    }
  }
}
