import { AppError, errorText } from "../../../core/errors.ts"
import { type IptablesKind, type NatTable, natTable } from "./iptables-programs.ts"

/*
 * Chains are called as mirrord calls them, with the port of the agent's listener where mirrord puts the container's id: that makes
 * them unique within a network namespace and tells whether their agent still lives.
 */

export interface ChainNames {
  incoming: string
  outgoing: string
}

const ownChain = /^-N (MRD(?:IN|STD|OUT|MSH)_podside_(\d+))$/

export function chainNames(listenerPort: number, mesh: boolean): ChainNames {
  const id = `podside_${listenerPort}`
  return { incoming: `MRDIN_${id}`, outgoing: `${mesh ? "MRDOUT" : "MRDSTD"}_${id}` }
}

/** Chains of podside's agents whose listener nobody serves any more. */
export function leftoverChains(rules: readonly string[], isListening: (port: number) => boolean): string[] {
  return rules.flatMap((rule) => {
    const [, chain, port] = ownChain.exec(rule) ?? []
    return chain !== undefined && !isListening(Number(port)) ? [chain] : []
  })
}

/** Lines that delete the chains and every jump to them; what is not there is left out. */
export function removalLines(rules: readonly string[], chains: readonly string[]): string[] {
  const present = chains.filter((chain) => rules.includes(`-N ${chain}`))
  const jumps = rules.filter((rule) => rule.startsWith("-A ") && present.some((chain) => rule.endsWith(` -j ${chain}`)))
  return [
    ...jumps.map((rule) => rule.replace("-A", "-D")),
    ...present.map((chain) => `-F ${chain}`),
    ...present.map((chain) => `-X ${chain}`),
  ]
}

/** What diverts `ports` in these chains. */
export function rulesOfPorts(rules: readonly string[], chains: readonly string[], ports: readonly number[]): string[] {
  return rules.filter((rule) => {
    const [, chain = "", port] = /^-A (\S+) .*--dport (\d+) /.exec(rule) ?? []
    return chains.includes(chain) && ports.includes(Number(port))
  })
}

export function removeChains(table: NatTable, choose: (rules: readonly string[]) => readonly string[]): void {
  const rules = table.rules()
  const lines = removalLines(rules, choose(rules))
  if (lines.length > 0) table.change(lines)
}

/** Every family is tried, also when an earlier one fails. @throws AppError of the first that failed */
export function removeFromAll(kind: IptablesKind, families: readonly NatTable["family"][], chains: readonly string[]) {
  const failures = families.flatMap((family) => {
    try {
      removeChains(natTable(kind, family), () => chains)
      return []
    } catch (thrown) {
      return [errorText(thrown)]
    }
  })
  if (failures.length > 0) {
    throw new AppError("iptables-failed", `Rules are left behind: ${failures.join("; ")}`, {
      next: `Remove the chains ${chains.join(" and ")} by hand, or delete the pod.`,
    })
  }
}

/** The chain of another agent that diverts one of `ports`; `own` are the caller's chains. */
export function whoHolds(rules: readonly string[], ports: readonly number[], own: readonly string[]) {
  for (const rule of rules) {
    const [, chain, port] =
      /^-A (MRD(?:IN|OUT|STD)_\S+|MIRRORD_(?:INPUT|OUTPUT|STANDARD)) .*--dport (\d+) .*-j (?:REDIRECT|DNAT)/.exec(
        rule,
      ) ?? []
    if (chain !== undefined && !own.includes(chain) && ports.includes(Number(port)))
      return { chain, port: Number(port) }
  }
  return undefined
}
