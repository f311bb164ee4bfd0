import type { Pod } from "../../kube/objects.ts"

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

export function agentState({ metadata, status }: Pod): AgentState {
  if (metadata.deletionTimestamp) return { kind: "ended", why: "it is being deleted" }
  const [container] = status?.containerStatuses ?? []
  const { waiting, terminated, running } = container?.state ?? {}
  const phase = status?.phase
  if (phase === "Failed" || phase === "Succeeded" || terminated) {
    const why = [status?.reason, status?.message, terminated?.reason, terminated && `exit code ${terminated.exitCode}`]
    return { kind: "ended", why: why.filter(Boolean).join(", ") || `its phase is ${phase}` }
  }
  if (waiting?.reason && hopeless.has(waiting.reason)) {
    return { kind: "failed", why: [waiting.reason, waiting.message].filter(Boolean).join(": ") }
  }
  if (running && status?.podIP) return { kind: "running", address: status.podIP }
  return { kind: "starting" }
}

/** What an agent that does not start waits for, for the user to read. */
export function waitingFor({ status }: Pod): string {
  const condition = status?.conditions?.find((one) => one.status === "False" && one.message)
  const waiting = status?.containerStatuses?.[0]?.state?.waiting
  return condition?.message ?? waiting?.message ?? waiting?.reason ?? `its phase is ${status?.phase ?? "unknown"}`
}
