import { AppError } from "../../../errors.ts"
import { KubeError } from "../../../kube/errors.ts"

/** What is made, and where. */
export interface AgentPlace {
  namespace: string
  kind: "targeted" | "targetless" | "ephemeral"
}

/** Why Kubernetes does not take an agent, in terms of what its user can change. Other errors stay as they are. */
export function refusedCreation(thrown: unknown, place: AgentPlace): unknown {
  if (!(thrown instanceof KubeError)) return thrown
  const { status, body, message, code } = thrown
  const said = body.message ?? message
  if (status === 403 && /\bcannot \w+ resource\b/.test(said)) {
    return new KubeError(code, message, status, body, { next: `Ask the cluster's owner for it${otherWay(place)}` })
  }
  if (status === 403 || /admission webhook/.test(said)) return refusedPod(said, place, thrown)
  if (status === 404 && place.kind !== "ephemeral") {
    return new AppError("agent-namespace", `${message}`, {
      cause: thrown,
      next: `Name one that is there${flag(place)}.`,
    })
  }
  if (status === 422) {
    return new AppError("agent-invalid", message, {
      cause: thrown,
      next: "Correct the `agent` section of the configuration.",
    })
  }
  return thrown
}

/** A rule of the cluster stands against the pod: pod security, a quota, limits, an admission webhook. */
export function refusedPod(said: string, place: AgentPlace, cause?: unknown): AppError {
  const message = `The cluster refuses the agent's pod: ${said}`
  if (/violates PodSecurity/i.test(said)) {
    const next =
      place.kind === "ephemeral"
        ? `Namespace "${place.namespace}" does not allow such a container: leave out --ephemeral-container, or use an operator.`
        : `Namespace "${place.namespace}" does not allow pods like the agent: name one that does${flag(place)}, or use an operator.`
    return new AppError("agent-pod-security", message, { cause, next })
  }
  const isAmount = /exceeded quota|failed quota|usage per|limit to request ratio/.test(said)
  const amounts = isAmount && place.kind !== "ephemeral" ? "Set agent.resources to what is allowed there, ask" : "Ask"
  return new AppError("agent-refused", message, { cause, next: `${amounts} the cluster's owner${otherWay(place)}` })
}

function otherWay(place: AgentPlace): string {
  if (place.kind === "ephemeral") return ", or leave out --ephemeral-container."
  return `, or name another namespace${flag(place)}.`
}

/** A targetless agent is where its target would be. */
const flag = ({ kind }: AgentPlace) => ` with ${kind === "targetless" ? "--target-namespace" : "--agent-namespace"}`
