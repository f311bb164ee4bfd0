import { AppError } from "../errors.ts"
import type { ContainerStatus, Pod, PodSpec } from "./objects.ts"

/** Containers that meshes and the like add to a pod; never meant when nobody names one. */
export const sidecarNames: ReadonlySet<string> = new Set([
  "kuma-sidecar",
  "kuma-init",
  "istio-proxy",
  "istio-init",
  "linkerd-proxy",
  "linkerd-init",
  "vault-agent",
  "vault-agent-init",
  "queue-proxy",
  "traffic-agent",
])

const defaultContainerAnnotation = "kubectl.kubernetes.io/default-container"

export interface ChosenContainer {
  name: string
  /** Names that could have been meant too, when nobody named one. */
  others: string[]
}

/**
 * The container a session is about: the named one, else the annotated default, else the first that is no sidecar.
 * @throws AppError "container-not-found"
 */
export function chooseContainer(pod: Pick<Pod, "metadata" | "spec">, named?: string): ChosenContainer {
  if (named !== undefined) {
    const running = runningContainers(pod.spec).map((container) => container.name)
    if (running.includes(named)) return { name: named, others: [] }
    throw new AppError("container-not-found", `Pod "${pod.metadata.name}" has no container "${named}"`, {
      next: `Choose one of: ${running.join(", ")}.`,
    })
  }
  const names = pod.spec.containers.map((container) => container.name)
  const annotated = pod.metadata.annotations?.[defaultContainerAnnotation]
  if (annotated !== undefined && names.includes(annotated)) return { name: annotated, others: [] }
  const own = names.filter((name) => !sidecarNames.has(name))
  const name = own[0] ?? names[0]
  if (name === undefined) throw new AppError("container-not-found", `Pod "${pod.metadata.name}" has no containers`)
  return { name, others: own.slice(1) }
}

/** The containers of a pod, and the init containers that run beside them from its start on. */
export function runningContainers({ containers, initContainers = [] }: Pick<PodSpec, "containers" | "initContainers">) {
  return [...containers, ...initContainers.filter(({ restartPolicy }) => restartPolicy === "Always")]
}

/** Why a session cannot use this container of this pod now; undefined when it can. */
export function notUsable(pod: Pod, container: string): string | undefined {
  const phase = pod.status?.phase ?? "Unknown"
  if (pod.metadata.deletionTimestamp !== undefined) return "it is being deleted"
  const status = containerStatus(pod, container)
  const reason = status?.state?.waiting?.reason
  const waiting = reason ? ` (${reason})` : ""
  if (phase !== "Running") return `its phase is ${phase}${waiting}`
  if (!pod.spec.nodeName) return "it has no node yet"
  if (!status?.ready) return `its container "${container}" is not ready${waiting}`
  if (!status.containerID) return `its container "${container}" has no id yet`
  return undefined
}

export function containerStatus(pod: Pod, name: string): ContainerStatus | undefined {
  const { containerStatuses = [], initContainerStatuses = [] } = pod.status ?? {}
  return [...containerStatuses, ...initContainerStatuses].find((status) => status.name === name)
}

/** Splits `containerd://4f1c…`. @throws AppError "container-not-ready" */
export function runtimeId(pod: Pod, container: string): { runtime: string; id: string } {
  const text = containerStatus(pod, container)?.containerID ?? ""
  const at = text.indexOf("://")
  if (at < 1) {
    throw new AppError("container-not-ready", `Container "${container}" of pod "${pod.metadata.name}" has no id yet`, {
      next: "Wait until the pod is ready, then try again.",
    })
  }
  return { runtime: text.slice(0, at), id: text.slice(at + 3) }
}

export type Mesh = "istio-ambient" | "istio-cni" | "istio" | "linkerd" | "kuma"

/** The service mesh a pod takes part in, by its annotation and the names of its containers. */
export function meshOf(pod: Pod): Mesh | undefined {
  if (pod.metadata.annotations?.["ambient.istio.io/redirection"] === "enabled") return "istio-ambient"
  const { containerStatuses, initContainerStatuses } = pod.status ?? {}
  if (!containerStatuses || !initContainerStatuses) return undefined
  const names = new Set([...containerStatuses, ...initContainerStatuses].map((status) => status.name))
  if (names.has("istio-proxy") && names.has("istio-validation")) return "istio-cni"
  if (names.has("istio-proxy") || names.has("istio-init")) return "istio"
  if (names.has("linkerd-proxy") || names.has("linkerd-init")) return "linkerd"
  if (names.has("kuma-sidecar") || names.has("kuma-init")) return "kuma"
  return undefined
}
