import type { Kube } from "../../../kube/kube.ts"
import { protocolVersion } from "../../../protocol/index.ts"
import type { AgentSession } from "../../agent-session.ts"
import { openOperatorLink } from "./connect.ts"
import { clientCertificate } from "./credential.ts"
import { type Operator, operatorApi } from "./find.ts"

const upgradeLimitMs = 30_000

/** Whether the operator answers pings without a session. */
export const answersPings = (operator: Operator): boolean => operator.supports("DiagnosticPing")

/** The operator's own end of the way a session takes: no target, no agent. @throws KubeError */
export async function openPingSession(
  kube: Kube,
  operator: Operator,
  signal: AbortSignal,
  certificateFor: typeof clientCertificate = clientCertificate,
): Promise<AgentSession> {
  const peer = `operator ${operator.description.spec.operator_version}`
  // On this socket pings are understood and nothing else, versions included.
  const link = await openOperatorLink(kube, {
    path: `${operatorApi}/mirrordoperators/operator/ping`,
    headers: { ...operator.headers, "x-client-der": await certificateFor(kube, operator) },
    peer,
    what: "ping the operator",
    timeoutMs: upgradeLimitMs,
    signal,
  })
  link.pause()
  return {
    link,
    protocolVersion,
    peer,
    async close() {
      link.close()
      await link.ended
    },
  }
}
