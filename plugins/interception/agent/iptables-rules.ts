import { type ChainNames, chainNames, removeFromAll, rulesOfPorts } from "./iptables-chains.ts"
import { type IptablesKind, type NatTable, natTable } from "./iptables-programs.ts"
import { removeLeftovers } from "./leftovers.ts"
import { type Mesh, meshOf } from "./mesh.ts"
import { NfTables } from "./nf-tables.ts"
import type { RuleSet, RuleSetOptions } from "./rule-set.ts"
import { startGuard } from "./rules-guard.ts"
import { refuseTaken } from "./taken-ports.ts"

/**
 * Chains in the nat tables of both families, changed by the iptables programs, one run per change however many ports it has. The
 * kernel does not remove them when the agent is killed: a guard process does, and the next agent.
 * @throws AppError "interception-unavailable", "iptables-failed"
 */
export function openIptablesRules(kind: IptablesKind, options: RuleSetOptions): RuleSet {
  const tables = usableTables(kind)
  const families = tables.map(({ family }) => family)
  withNfTables(removeLeftovers)
  const mesh = meshOf(kind, tables, options.meshExpected)
  const names = chainNames(options.listenerPort, mesh !== "none")
  const chains = [names.incoming, names.outgoing]
  const dismissGuard = startGuard({ backend: "iptables", kind, families, chains })
  const present = new Set<number>()

  const rulesOf = (table: NatTable, ports: readonly number[]) =>
    ports.flatMap((port) => portRules(names, mesh, table, port, options))

  /** In every family or in none. */
  function redirect(ports: readonly number[]): void {
    const changed: NatTable[] = []
    try {
      for (const table of tables) {
        table.change(rulesOf(table, ports).map((rule) => `-A ${rule}`))
        changed.push(table)
      }
    } catch (thrown) {
      for (const table of changed) leaveAlone(table, ports)
      throw thrown
    }
  }

  /** Somebody else may have removed some of the rules; those that are left go all the same. */
  function leaveAlone(table: NatTable, ports: readonly number[]): void {
    try {
      table.change(rulesOf(table, ports).map((rule) => `-D ${rule}`))
    } catch {
      const left = rulesOfPorts(table.rules(), chains, ports)
      if (left.length > 0) table.change(left.map((rule) => rule.replace("-A", "-D")))
    }
  }

  function close(): void {
    try {
      removeFromAll(kind, families, chains)
    } finally {
      dismissGuard()
    }
  }

  try {
    for (const table of tables) table.change(chainLines(names, mesh, options))
  } catch (thrown) {
    close()
    throw thrown
  }
  return {
    backend: `iptables-${kind}`,
    add(wanted) {
      const added = [...new Set(wanted)].filter((port) => !present.has(port))
      if (added.length === 0) return
      withNfTables((nfTables) => refuseTaken(nfTables, chains, added))
      redirect(added)
      try {
        // Somebody else may have added the same port between the look and the act; then both step back.
        withNfTables((nfTables) => refuseTaken(nfTables, chains, added))
      } catch (thrown) {
        for (const table of tables) leaveAlone(table, added)
        throw thrown
      }
      for (const port of added) present.add(port)
    },
    remove(unwanted) {
      const removed = [...new Set(unwanted)].filter((port) => present.delete(port))
      if (removed.length > 0) for (const table of tables) leaveAlone(table, removed)
    },
    close,
  }
}

/** IPv4 must work; IPv6 need not be there. */
function usableTables(kind: IptablesKind): NatTable[] {
  const ipv4 = natTable(kind, 4)
  ipv4.rules()
  const ipv6 = natTable(kind, 6)
  try {
    ipv6.rules()
    return [ipv4, ipv6]
  } catch {
    return [ipv4]
  }
}

/** Some of what is looked for is in nf_tables, on kernels that have it. */
function withNfTables(look: (tables: NfTables | undefined) => void): void {
  const tables = openNfTables()
  try {
    look(tables)
  } finally {
    tables?.close()
  }
}

function openNfTables(): NfTables | undefined {
  const tables = new NfTables()
  try {
    tables.tables()
    return tables
  } catch {
    tables.close()
    return undefined
  }
}

/** The mark of connections that Istio's ambient mode hands to its proxy without changing where they go; to divert them would tear them. */
const handedToAmbient = "0x111/0xfff"
const opening = "--tcp-flags FIN,SYN,RST,ACK SYN"

/**
 * Behind a mesh's own chains: what its proxy takes stays its, and the proxy's connection to the application, decrypted, is caught
 * on the way out; of the ambient mode in front of them, because there they let everything within the pod pass. Without a mesh in front
 * of everything: chains of kube-proxy and of network plugins would otherwise decide first.
 */
function chainLines(
  { incoming, outgoing }: ChainNames,
  mesh: Mesh,
  { ownMark, listenerPort }: RuleSetOptions,
): string[] {
  const mark = `0x${ownMark.toString(16)}`
  const jump = (chain: string, behind: boolean) => (behind ? `-A ${chain}` : `-I ${chain} 1`)
  return [
    `-N ${incoming}`,
    `-N ${outgoing}`,
    // Matches nothing, but with the last redirect the kernel would stop tracking connections here: those that have been redirected
    // would answer from the listener's port.
    `-A ${incoming} -p tcp -m tcp --dport 0 -j REDIRECT --to-ports ${listenerPort}`,
    `-A ${outgoing} -p tcp -m mark --mark ${mark}/${mark} -j RETURN`,
    ...(mesh === "ambient" ? [`-A ${incoming} -m mark --mark ${handedToAmbient} -j RETURN`] : []),
    // Only what is meant for this namespace: traffic it forwards (a node's namespace, for one) is nobody's business here.
    `${jump("PREROUTING", mesh !== "none")} -p tcp -m addrtype --dst-type LOCAL -j ${incoming}`,
    `${jump("OUTPUT", mesh === "sidecar" || mesh === "unseen")} -o lo -p tcp -j ${outgoing}`,
  ]
}

/**
 * Only first packets, unless connections are to be cut: then a packet of a connection that connection tracking does not know comes to
 * the listener, which resets it. What comes in is left to a mesh whose rules are not seen: it may be encrypted for its proxy.
 */
function portRules(
  { incoming, outgoing }: ChainNames,
  mesh: Mesh,
  { family }: NatTable,
  port: number,
  { listenerPort, flush }: RuleSetOptions,
): string[] {
  const what = `-p tcp -m tcp --dport ${port}${flush ? "" : ` ${opening}`}`
  // The ambient proxy speaks with the callers' addresses, which only the address it speaks to can answer.
  const keepsAddress = mesh === "ambient" && family === 4
  const how = keepsAddress ? `-j DNAT --to-destination :${listenerPort}` : `-j REDIRECT --to-ports ${listenerPort}`
  return (mesh === "unseen" ? [outgoing] : [incoming, outgoing]).map((chain) => `${chain} ${what} ${how}`)
}
