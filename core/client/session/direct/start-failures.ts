import { AppError } from "../../../errors.ts"
import type { ContainerStatus, KubeEvent, Pod } from "../../../kube/objects.ts"
import { type AgentPlace, refusedPod } from "./refused.ts"

/** Waiting reasons of a container that never end by themselves. */
const imageReasons = new Set([
  "ImagePullBackOff",
  "ErrImagePull",
  "InvalidImageName",
  "ErrImageNeverPull",
  "ImageInspectError",
])
const configReasons = new Set(["CreateContainerConfigError", "CreateContainerError", "RunContainerError"])

/** What to do about an agent, by why its container ended, where that is plain. */
export const endings: Record<string, string | undefined> = {
  OOMKilled: "Give it more memory with agent.resources (limits.memory).",
  StartError: "Check that agent.image is an agent.",
  ContainerCannotRun: "Check that agent.image is an agent.",
}

/** Code of an agent that has run and ended; its log tells why. */
export const agentFailed = "agent-failed"

/** Why the pod of an agent will never be ready; undefined while it may. */
export function podFailure(pod: Pod, image: string): AppError | undefined {
  const { phase, reason, message, conditions, containerStatuses } = pod.status ?? {}
  for (const status of containerStatuses ?? []) {
    const failure = containerFailure(status, image)
    if (failure) return failure
  }
  if (phase === "Failed" || phase === "Succeeded") {
    if (/^OutOf/.test(reason ?? "")) return nodeFull(pod, `${reason}: ${message}`)
    return new AppError(
      agentFailed,
      `The agent's pod "${pod.metadata.name}" ended before it was ready: ${message ?? reason ?? phase}`,
      { next: "Try again; `podside doctor` looks for what would keep an agent from starting." },
    )
  }
  const unschedulable = conditions?.find(
    ({ type, status, reason: why }) => type === "PodScheduled" && status === "False" && why === "Unschedulable",
  )
  return unschedulable && nodeFull(pod, unschedulable.message ?? "no node fits")
}

function nodeFull(pod: Pod, why: string): AppError {
  return new AppError(
    "agent-unschedulable",
    `The agent's pod "${pod.metadata.name}" cannot be placed on a node: ${why}`,
    {
      next: "Free a place on the target's node, set agent.resources, agent.tolerations or agent.node_selector, or use an ephemeral container (--ephemeral-container).",
    },
  )
}

/** The same of its container. */
export function containerFailure(status: ContainerStatus | undefined, image: string): AppError | undefined {
  const { waiting, terminated } = status?.state ?? {}
  if (waiting?.reason && imageReasons.has(waiting.reason)) {
    return new AppError(
      "agent-image",
      `The agent's image ${image} cannot be used: ${waiting.message ?? waiting.reason}`,
      {
        next: "Check agent.image, agent.image_pull_policy and agent.image_pull_secrets.",
      },
    )
  }
  if (waiting?.reason && configReasons.has(waiting.reason)) {
    return new AppError(
      "agent-container",
      `The agent's container cannot be created: ${waiting.message ?? waiting.reason}`,
      {
        next: "Check agent.security_context, agent.service_account and the policies of the cluster.",
      },
    )
  }
  if (!terminated) return undefined
  const detail = [terminated.reason, terminated.message, `exit code ${terminated.exitCode}`].filter(Boolean).join(", ")
  return new AppError(agentFailed, `The agent ended before it was ready: ${detail}`, {
    next: endings[terminated.reason ?? ""],
  })
}

export function deleted(pod: Pod): AppError {
  return new AppError("agent-deleted", `The agent's pod "${pod.metadata.name}" was deleted while it started`, {
    next: "An admission policy or a clean-up job of the cluster may have done it: ask the cluster's owner.",
  })
}

/** A Job whose pod is refused says so in events only. */
export function eventFailure({ reason, message = "" }: KubeEvent, place: AgentPlace): AppError | undefined {
  return reason === "FailedCreate" ? refusedPod(message, place) : undefined
}
