import type { Interceptor } from "../core/interceptor.ts"
import type { Logger } from "../core/log.ts"
import type { AgentMode } from "./command-line.ts"
import type { AgentSettings } from "./settings.ts"
import type { AgentTarget } from "./target/target.ts"

/** As mirrord's agent ends when it finds what another one left; whoever starts agents may know it by this. */
export const dirtyExitCode = 99

/**
 * Looks for firewall rules of mirrord's agents beside the target, and removes them when that is wished. Undefined: there are none
 * (any more); otherwise what to tell the client. They and ours would take the same connections from each other.
 * @throws AppError when they could not be removed
 */
export async function refuseForeignRules(
  interceptor: Interceptor,
  target: AgentTarget,
  mode: AgentMode,
  settings: AgentSettings,
  log: Logger,
): Promise<string | undefined> {
  // Beside a mere process no container is known, so only rules that name none can be told to concern it.
  const containerId = mode.kind === "process" ? undefined : target.containerId
  const { inNamespace } = target
  const rules = await interceptor.findForeignRules({ inNamespace, containerId })
  const { names } = rules
  if (names.length === 0) return undefined
  if (settings.cleanRulesOnStart) {
    rules.remove()
    log.warn("firewall rules of another agent removed", { chains: names })
    return undefined
  }
  log.error("firewall rules of another agent are in the way", { chains: names })
  return (
    `Detected dirty iptables. The chains ${names.join(", ")} belong to another agent, which still runs beside this target or could not ` +
    "clean up when it ended. End that session; if there is none, delete the pod, or let agents clean up (agent.clean_iptables_on_start)."
  )
}
