import { errno, isLinuxError } from "../../../core/linux/errno.ts"
import { removeFromAll } from "./iptables-chains.ts"
import { type IpFamily, type IptablesKind, natTable } from "./iptables-programs.ts"
import { act, match } from "./nf-expressions.ts"
import { NfTables, newBaseChain, newRule, newTable, TABLE_OWNED } from "./nf-tables.ts"
import { tableName } from "./nf-tables-names.ts"
import { startGuard } from "./rules-guard.ts"

/** Before iptables' nat rules (-100), where meshes have theirs. */
const beforeMeshes = -101

/**
 * From its return on connections to `port` reach whoever listens there, whatever a mesh's rules say; all in the calling thread's
 * network namespace. Returns how to end it. @throws LinuxError, AppError "iptables-failed"
 */
export function exemptPort(port: number, holder: string, kind: IptablesKind | undefined): () => void {
  if (kind) return exemptByIptables(port, kind)
  const tables = new NfTables()
  try {
    makeTable(tables, tableName(`${holder}_direct`, port), port)
  } catch (thrown) {
    tables.close()
    // Kernels whose tables nobody can own, or without nf_tables.
    if (isLinuxError(thrown, errno.EPERM)) throw thrown
    return exemptByIptables(port, "legacy")
  }
  return () => tables.close()
}

function makeTable(tables: NfTables, table: string, port: number): void {
  tables.commit(
    [
      newTable(table, TABLE_OWNED),
      newBaseChain(table, "incoming", "nat", "prerouting", beforeMeshes),
      newRule(table, "incoming", match.tcp(), match.destinationPort(port), act.keepPort(port)),
    ],
    "exempt the agent's port from the mesh",
  )
}

function exemptByIptables(port: number, kind: IptablesKind): () => void {
  const chain = `MRDMSH_podside_${port}`
  const families: IpFamily[] = [4]
  const lines = [
    `-N ${chain}`,
    `-A ${chain} -p tcp -m tcp --dport ${port} -j ACCEPT`,
    `-I PREROUTING 1 -p tcp -j ${chain}`,
  ]
  const dismissGuard = startGuard({ backend: "iptables", kind, families: [4, 6], chains: [chain] })
  try {
    natTable(kind, 4).change(lines)
    if (attempt(() => natTable(kind, 6).change(lines))) families.push(6)
  } catch (thrown) {
    dismissGuard()
    throw thrown
  }
  return () => {
    try {
      removeFromAll(kind, families, [chain])
    } finally {
      dismissGuard()
    }
  }
}

/** IPv6 need not be there. */
function attempt(change: () => void): boolean {
  try {
    change()
    return true
  } catch {
    return false
  }
}
