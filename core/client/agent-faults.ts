import { AppError } from "../errors.ts"
import { targetEnded } from "../protocol/index.ts"

/*
 * What ends a session from the other side, for the user. `peer` names that side and begins with "agent" or "operator".
 */

/** The connection is gone. */
export function agentLost(peer: string, why: string): AppError {
  return new AppError("agent-lost", `Lost the ${peer}: ${why}`, {
    next: "Start the session again; if it happens again, look at the agent's pod and at the network.",
  })
}

/** It broke the rules. @param what it sent */
export function agentUnexpected(peer: string, what: string): AppError {
  return new AppError("agent-unexpected", `The ${peer} sent something that was not asked for: ${what}`, {
    next: "Use an agent and a client of matching versions.",
  })
}

/** It said goodbye, with a reason. */
export function agentClosed(peer: string, reason: string): AppError {
  const { code, next } = closing(peer, reason)
  return new AppError(code, `The ${peer} ended the session: ${reason}`, { next })
}

function closing(peer: string, reason: string): { code: string; next: string } {
  if (reason.includes("dirty iptables")) {
    return {
      code: "agent-dirty-rules",
      next: "Wait until the other session on this pod has ended, delete the pod, or set agent.clean_iptables_on_start.",
    }
  }
  if (reason.includes(targetEnded)) {
    return {
      code: "target-ended",
      next: "Start again when the target runs; `kubectl describe pod` tells why it ended.",
    }
  }
  const look = peer.startsWith("operator")
    ? "`podside operator status` shows the sessions there are, and the operator's log tells more."
    : "if it happens again, `kubectl get events` tells who ends the agent's pod."
  return { code: "agent-closed", next: `Start again; ${look}` }
}
