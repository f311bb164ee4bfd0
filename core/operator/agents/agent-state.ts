import type { ContainerStatus, Pod } from "../../kube/objects.ts"

export type AgentState =
  | { kind: "starting" }
  | { kind: "running"; address: string }
  /** It has done its work, or is going. */
  | { kind: "ended"; why: string }
  /** It will never run; no use waiting. */
  | { kind: "failed"; why: string }

const hopeless = new Set([
  "ImagePullBackOff",
  "ErrImagePull",
  "ErrImageNeverPull",
  "InvalidImageName",
  "CreateContainerConfigError",
  "CreateContainerError",
  "RunContainerError",
])

/** Of an agent with a pod of its own. */
export function agentState({ metadata, status }: Pod): AgentState {
  if (metadata.deletionTimestamp) return { kind: "ended", why: "it is being deleted" }
  const [container] = status?.containerStatuses ?? []
  const { phase, reason, message } = status ?? {}
  if (phase === "Failed" || phase === "Succeeded" || container?.state?.terminated) {
    const why = [reason, message, ...howItEnded(container)]
    return { kind: "ended", why: why.filter(Boolean).join(", ") || `its phase is ${phase}` }
  }
  return containerState(container, status?.podIP)
}

/** Of an agent in a container of the target's pod. */
export function ephemeralState({ metadata, status }: Pod, name: string): AgentState {
  if (metadata.deletionTimestamp) return { kind: "ended", why: "the target's pod is being deleted" }
  const container = status?.ephemeralContainerStatuses?.find((one) => one.name === name)
  if (container?.state?.terminated) return { kind: "ended", why: howItEnded(container).filter(Boolean).join(", ") }
  return containerState(container, status?.podIP)
}

const howItEnded = (container: ContainerStatus | undefined) => {
  const { terminated } = container?.state ?? {}
  return [terminated?.reason, terminated && `exit code ${terminated.exitCode}`]
}

function containerState(container: ContainerStatus | undefined, address: string | undefined): AgentState {
  const { waiting, running } = container?.state ?? {}
  if (waiting?.reason && hopeless.has(waiting.reason)) {
    return { kind: "failed", why: [waiting.reason, waiting.message].filter(Boolean).join(": ") }
  }
  return running && address ? { kind: "running", address } : { kind: "starting" }
}

/** What an agent that does not start waits for, for the user to read. */
export function waitingFor({ status }: Pod): string {
  const condition = status?.conditions?.find((one) => one.status === "False" && one.message)
  const waiting = status?.containerStatuses?.[0]?.state?.waiting
  return condition?.message ?? waiting?.message ?? waiting?.reason ?? `its phase is ${status?.phase ?? "unknown"}`
}
