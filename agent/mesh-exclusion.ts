import type { Interceptor } from "../core/interceptor.ts"
import { type AgentSettings, wantedBackend } from "./settings.ts"
import type { AgentTarget } from "./target/target.ts"

/**
 * What an ephemeral agent needs in a mesh whose proxy would otherwise take what clients send to the agent's port: from its return on
 * they reach it. Returns how to end it; undefined when it is not wished for.
 * @throws AppError "interception-unavailable", "iptables-failed"
 */
export async function keepOutOfMesh(
  interceptor: Interceptor,
  { inNamespace }: AgentTarget,
  port: number,
  settings: AgentSettings,
): Promise<(() => void) | undefined> {
  if (!settings.excludeFromMesh || !settings.inServiceMesh) return undefined
  return interceptor.exemptPort({ inNamespace, port, backend: wantedBackend(settings) })
}
