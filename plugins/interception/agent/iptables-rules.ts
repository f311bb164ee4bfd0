import { AppError } from "../../../core/errors.ts"
import {
  type ChainNames,
  chainNames,
  leftoverChains,
  removeChains,
  removeFromAll,
  whoHolds,
} from "./iptables-chains.ts"
import { startGuard } from "./iptables-guard.ts"
import { hasMangleRule, type IptablesKind, type NatTable, natTable } from "./iptables-programs.ts"
import type { RuleSet, RuleSetOptions } from "./rule-set.ts"
import { isListening } from "./sockets-of-namespace.ts"

/** Jumps by which Istio, Linkerd and Kuma take what a pod sends. */
const meshRule = /^-A OUTPUT .*-j (?:ISTIO_OUTPUT|PROXY_INIT_OUTPUT|KUMA_MESH_OUTBOUND)$/
const istioRule = /^-A OUTPUT .*-j ISTIO_OUTPUT$/

/**
 * Chains in the nat tables of both families, changed by the iptables programs, one run per change however many ports it has. The
 * kernel does not remove them when the agent is killed: a guard process does, and the next agent.
 * @throws AppError "interception-unavailable", "iptables-failed"
 */
export function openIptablesRules(kind: IptablesKind, options: RuleSetOptions): RuleSet {
  const tables = usableTables(kind)
  const families = tables.map(({ family }) => family)
  for (const table of tables) removeChains(table, (rules) => leftoverChains(rules, isListening))
  const mesh = tables.some((table) => table.rules().some((rule) => meshRule.test(rule)))
  if (mesh) refuseAmbient(kind)
  const names = chainNames(options.listenerPort, mesh)
  const chains = [names.incoming, names.outgoing]
  const dismissGuard = startGuard({ kind, families, chains })
  const present = new Set<number>()

  function redirect(verb: "-A" | "-D", ports: readonly number[]): void {
    const lines = ports.flatMap((port) => portRules(names, port, options.listenerPort)).map((rule) => `${verb} ${rule}`)
    for (const table of tables) table.change(lines)
  }

  function close(): void {
    try {
      removeFromAll(kind, families, chains)
    } finally {
      dismissGuard()
    }
  }

  try {
    for (const table of tables) table.change(chainLines(names, mesh, options.ownMark))
  } catch (thrown) {
    close()
    throw thrown
  }
  return {
    backend: `iptables-${kind}`,
    add(wanted) {
      const added = [...new Set(wanted)].filter((port) => !present.has(port))
      if (added.length === 0) return
      refuseTaken(tables, names, added)
      redirect("-A", added)
      try {
        // Somebody else may have added the same port between the look and the act; then both step back.
        refuseTaken(tables, names, added)
      } catch (thrown) {
        redirect("-D", added)
        throw thrown
      }
      for (const port of added) present.add(port)
    },
    remove(unwanted) {
      const removed = [...new Set(unwanted)].filter((port) => present.delete(port))
      if (removed.length > 0) redirect("-D", removed)
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

/**
 * Behind a mesh's own chains: what its proxy takes stays its, and the proxy's connection to the application, decrypted, is caught
 * on the way out. Without a mesh in front of everything: chains of kube-proxy and of network plugins would otherwise decide first.
 */
function chainLines({ incoming, outgoing }: ChainNames, mesh: boolean, ownMark: number): string[] {
  const mark = `0x${ownMark.toString(16)}`
  const jump = (chain: string) => (mesh ? `-A ${chain}` : `-I ${chain} 1`)
  return [
    `-N ${incoming}`,
    `-N ${outgoing}`,
    `-A ${outgoing} -p tcp -m mark --mark ${mark}/${mark} -j RETURN`,
    // Only what is meant for this namespace: traffic it forwards (a node's namespace, for one) is nobody's business here.
    `${jump("PREROUTING")} -p tcp -m addrtype --dst-type LOCAL -j ${incoming}`,
    `${jump("OUTPUT")} -o lo -p tcp -j ${outgoing}`,
  ]
}

function portRules({ incoming, outgoing }: ChainNames, port: number, listenerPort: number): string[] {
  const what = `-p tcp -m tcp --dport ${port} -j REDIRECT --to-ports ${listenerPort}`
  return [`${incoming} ${what}`, `${outgoing} ${what}`]
}

function refuseTaken(tables: readonly NatTable[], own: ChainNames, wanted: readonly number[]): void {
  for (const table of tables) {
    const holder = whoHolds(table.rules(), wanted, own.incoming)
    if (!holder) continue
    throw new AppError(
      "port-taken",
      `Port ${holder.port} is already taken by the agent that made the iptables chain "${holder.chain}"`,
      { next: "End that session, or use another port." },
    )
  }
}

/** The node's proxy of an ambient mesh speaks with the pods' callers' addresses, which this redirect cannot bring to the listener. */
function refuseAmbient(kind: IptablesKind): void {
  if (!hasMangleRule(kind, istioRule)) return
  throw new AppError("interception-unavailable", "iptables rules cannot take traffic from Istio in ambient mode", {
    next: "Leave the choice of the backend to the agent.",
  })
}
