import { AppError } from "../../../core/errors.ts"
import { errno, isLinuxError } from "../../../core/linux/errno.ts"
import { hasLegacyNat, type IpFamily, type IptablesKind, type NatTable, natTable } from "./iptables-programs.ts"
import { NfTables } from "./nf-tables.ts"

/** A nat table in which some agent, podside's or mirrord's, has chains. */
export interface AgentTable {
  kind: IptablesKind
  table: NatTable
  /** In the form of `NatTable.rules`. */
  rules: readonly string[]
}

/** mirrord's names, which podside's iptables chains share; those beginning with MIRRORD are of its older versions. */
const agentChain = /^(?:MRD(?:IN|OUT|STD|MSH)_|MIRRORD_(?:INPUT|OUTPUT|STANDARD|EXCLUDE_FROM_MESH)$)/
const families = [4, 6] as const

/**
 * The nat tables of the calling thread's network namespace that agents have chains in. Looking changes nothing, and where there are
 * none it starts no program.
 * @throws AppError "iptables-failed"
 */
export function tablesOfAgents(): AgentTable[] {
  return [...nftTables(), ...legacyTables()]
}

/** Names of the agents' chains in a table. */
export function agentChainsIn(rules: readonly string[]): string[] {
  return rules.flatMap((rule) => {
    const name = /^-N (\S+)$/.exec(rule)?.[1]
    return name !== undefined && agentChain.test(name) ? [name] : []
  })
}

function nftTables(): AgentTable[] {
  return families.flatMap((family) => {
    const chains = nftChains(family).filter((name) => agentChain.test(name))
    if (chains.length === 0) return []
    const table = natTable("nft", family)
    // Without the program the chains are known by name all the same.
    const rules = readRules(table) ?? chains.map((name) => `-N ${name}`)
    return [{ kind: "nft" as const, table, rules }]
  })
}

function legacyTables(): AgentTable[] {
  return families.flatMap((family) => {
    if (!hasLegacyNat(family)) return []
    const table = natTable("legacy", family)
    const rules = readRules(table) ?? []
    return agentChainsIn(rules).length === 0 ? [] : [{ kind: "legacy" as const, table, rules }]
  })
}

/** None where the kernel has no nf_tables, or the agent may not look: then it may not change rules either. */
function nftChains(family: IpFamily): string[] {
  try {
    const tables = new NfTables()
    try {
      return tables.natChains(family)
    } finally {
      tables.close()
    }
  } catch (thrown) {
    if (isLinuxError(thrown, errno.EPERM, errno.ENOENT, errno.EINVAL, errno.EPROTONOSUPPORT, errno.EOPNOTSUPP))
      return []
    throw thrown
  }
}

/** Undefined when the program is not here. */
function readRules(table: NatTable): string[] | undefined {
  try {
    return table.rules()
  } catch (thrown) {
    if (thrown instanceof AppError && thrown.code === "interception-unavailable") return undefined
    throw thrown
  }
}
