import { AppError } from "../../../core/errors.ts"
import type { ForeignRules } from "../../../core/interceptor.ts"
import { agentChainsIn, tablesOfAgents } from "./agent-chains.ts"
import { removeChains } from "./iptables-chains.ts"

/** As much of a container's id as mirrord puts into its chains' names. */
const idLength = 20
const ownChain = /^MRD[A-Z]+_podside_\d+$/

/**
 * The chains of mirrord's agents beside one container, or of older ones beside whichever, in the calling thread's network namespace.
 * `containerId` empty: beside any container; undefined: older ones only.
 * @throws AppError "iptables-failed"
 */
export function findForeignRules(containerId: string | undefined): ForeignRules {
  const isForeign = foreignTo(containerId)
  const names = () => tablesOfAgents().flatMap(({ rules }) => agentChainsIn(rules).filter(isForeign))
  return {
    names: [...new Set(names())],
    remove() {
      for (const { table } of tablesOfAgents()) removeChains(table, (rules) => agentChainsIn(rules).filter(isForeign))
      const [left] = names()
      if (left === undefined) return
      throw new AppError("iptables-failed", `The iptables chain ${left} of another agent is still there`, {
        next: "Delete the pod.",
      })
    },
  }
}

function foreignTo(containerId: string | undefined): (chain: string) => boolean {
  const beside = containerId === undefined ? undefined : `_${containerId.slice(0, idLength)}`
  return (chain) => {
    if (chain.startsWith("MIRRORD_")) return true
    if (beside === undefined || ownChain.test(chain)) return false
    return beside === "_" || chain.endsWith(beside)
  }
}
