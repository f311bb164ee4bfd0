import { AppError } from "../../../core/errors.ts"
import { errno, isLinuxError } from "../../../core/linux/errno.ts"
import { tablesOfAgents } from "./agent-chains.ts"
import { whoHolds } from "./iptables-chains.ts"
import type { NfTables } from "./nf-tables.ts"
import { copiedPorts, portMap, tablePrefix } from "./nf-tables-names.ts"

/**
 * Looks through the rules of all agents in the calling thread's network namespace, whatever backend they use. `own` are the caller's
 * table or chains; `nfTables` is undefined where the kernel has none.
 * @throws AppError "port-taken" that names who has one of the ports
 */
export function refuseTaken(nfTables: NfTables | undefined, own: readonly string[], wanted: readonly number[]): void {
  const holder = nfTables && holdingTable(nfTables, own, wanted)
  if (holder) throw taken(holder.port, `nf_tables table "${holder.name}"`)
  for (const { rules } of tablesOfAgents()) {
    const chain = whoHolds(rules, wanted, own)
    if (chain) throw taken(chain.port, `iptables chain "${chain.chain}"`)
  }
}

function holdingTable(nfTables: NfTables, own: readonly string[], wanted: readonly number[]) {
  for (const name of nfTables.tables()) {
    if (own.includes(name) || !name.startsWith(tablePrefix)) continue
    const held = new Set([portMap, copiedPorts].flatMap((ports) => portsOf(nfTables, name, ports)))
    const port = wanted.find((candidate) => held.has(candidate))
    if (port !== undefined) return { name, port }
  }
  return undefined
}

function portsOf(nfTables: NfTables, table: string, ports: string): number[] {
  try {
    return nfTables.ports(table, ports)
  } catch (thrown) {
    // The table went away between the two listings, or diverts nothing, or copies nothing.
    if (isLinuxError(thrown, errno.ENOENT)) return []
    throw thrown
  }
}

function taken(port: number, holder: string): AppError {
  return new AppError("port-taken", `Port ${port} is already taken by the agent that made the ${holder}`, {
    next: "End that session, or use another port.",
  })
}
