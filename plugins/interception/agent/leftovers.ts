import { errno, isLinuxError } from "../../../core/linux/errno.ts"
import { tablesOfAgents } from "./agent-chains.ts"
import { leftoverChains, removeChains } from "./iptables-chains.ts"
import type { NatTable } from "./iptables-programs.ts"
import { deleteTable, type NfTables } from "./nf-tables.ts"
import { portInName } from "./nf-tables-names.ts"
import { isListening } from "./sockets-of-namespace.ts"

/**
 * Removes what podside's agents left in the calling thread's network namespace, whichever backend they used: tables and chains whose
 * listener nobody serves any more. They would send connections nowhere.
 * @throws LinuxError, AppError "iptables-failed"
 */
export function removeLeftovers(nfTables: NfTables | undefined): void {
  for (const table of nfTables?.tables() ?? []) {
    const port = portInName(table)
    if (Number.isNaN(port) || isListening(port)) continue
    try {
      nfTables?.commit([deleteTable(table)], "delete a leftover table")
    } catch (thrown) {
      // EPERM: owned by a process that is just ending; ENOENT: gone already.
      if (!isLinuxError(thrown, errno.EPERM, errno.ENOENT)) throw thrown
    }
  }
  for (const { table } of tablesOfAgents()) removeLeftoverChains(table)
}

/** The guard of an agent that just died does the same at the same time, so a failure counts only when something is left. */
function removeLeftoverChains(table: NatTable): void {
  const choose = (rules: readonly string[]) => leftoverChains(rules, isListening)
  try {
    removeChains(table, choose)
  } catch {
    removeChains(table, choose)
  }
}
