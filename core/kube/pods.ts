import { AppError } from "../errors.ts"
import type { ResolvedPod } from "../session.ts"
import { formatTarget, type Target } from "../target.ts"
import { KubeError } from "./errors.ts"
import type { Kube } from "./kube.ts"
import type { LabelSelector, OwnerReference, Pod, Service, Workload } from "./objects.ts"
import { podPath, type Resource, resourcePath, resources } from "./resources.ts"

export interface PodsOptions {
  /**
   * Take every pod the workload's selector fits, whoever made it. For callers that ask with the user's own permissions: it
   * saves reading ReplicaSets, which that user may not be allowed to do.
   */
  selectorIsEnough?: boolean
}

/** The object that was named, as far as there is one. */
export interface NamedObject {
  uid?: string
  labels: Readonly<Record<string, string>>
}

export interface TargetPods extends NamedObject {
  pods: Pod[]
}

/** All pods a target stands for now, ready or not, oldest first. Empty for `targetless`. @throws like `targetPods` */
export async function podsOf(kube: Kube, target: Target, namespace: string, options: PodsOptions = {}): Promise<Pod[]> {
  return (await targetPods(kube, target, namespace, options)).pods
}

/** @throws AppError "target-not-found" when the workload is missing, "kube-forbidden" with the verb that was refused */
export async function targetPods(
  kube: Kube,
  target: Target,
  namespace: string,
  options: PodsOptions = {},
): Promise<TargetPods> {
  switch (target.kind) {
    case "targetless":
      return { pods: [], labels: {} }
    case "label":
      return {
        pods: await podsBySelector(kube, namespace, { matchLabels: { ...target.labels } }),
        labels: target.labels,
      }
    default: {
      const named = await read<Workload>(kube, resources[target.kind], namespace, target.name)
      const { uid, labels = {} } = named.metadata
      return { pods: await podsOfNamed(kube, target.kind, named, namespace, options), uid, labels }
    }
  }
}

async function podsOfNamed(
  kube: Kube,
  kind: Exclude<Target["kind"], "targetless" | "label">,
  named: Workload,
  namespace: string,
  options: PodsOptions,
): Promise<Pod[]> {
  switch (kind) {
    case "pod":
      return [named as unknown as Pod]
    case "service": {
      const { spec } = named as unknown as Service
      // A service without selector has endpoints of its own, not pods.
      return spec?.selector ? podsBySelector(kube, namespace, { matchLabels: spec.selector }) : []
    }
    case "cronjob":
      return podsOfCronJob(kube, namespace, named)
    case "rollout": {
      const referred = named.spec?.workloadRef
      if (named.spec?.selector || !referred?.name) return podsBySelector(kube, namespace, named.spec?.selector)
      const resource = Object.values(resources).find((one) => one.kind === referred.kind) ?? resources.deployment
      return podsBySelector(
        kube,
        namespace,
        (await read<Workload>(kube, resource, namespace, referred.name)).spec?.selector,
      )
    }
    default:
      return ownPods(kube, namespace, named, kind === "deployment", options)
  }
}

/**
 * Pods the workload made. Its selector alone would not do: anybody who may create a workload can write a selector that
 * also fits the pods of somebody else.
 */
async function ownPods(
  kube: Kube,
  namespace: string,
  workload: Workload,
  throughReplicaSets: boolean,
  { selectorIsEnough }: PodsOptions,
): Promise<Pod[]> {
  const { selector } = workload.spec ?? {}
  if (selectorIsEnough) return podsBySelector(kube, namespace, selector)
  const [pods, replicaSets] = await Promise.all([
    podsBySelector(kube, namespace, selector),
    throughReplicaSets ? replicaSetsOf(kube, namespace, workload) : [],
  ])
  const makers = new Set([workload.metadata.uid, ...replicaSets.map(({ metadata }) => metadata.uid)])
  return pods.filter((pod) => pod.metadata.ownerReferences?.some((owner) => makers.has(owner.uid)))
}

async function replicaSetsOf(kube: Kube, namespace: string, { metadata, spec }: Workload): Promise<Workload[]> {
  const query = { labelSelector: formatSelector(spec?.selector) }
  const path = resourcePath(resources.replicaset, namespace)
  const all = await kube.list<Workload>(path, { query, what: `list replicasets in ${namespace}` })
  return all.filter((set) => set.metadata.ownerReferences?.some((owner) => owner.uid === metadata.uid))
}

/** @throws AppError "target-not-found" */
export async function read<T>(kube: Kube, resource: Resource, namespace: string, name: string): Promise<T> {
  const what = `get ${resource.resource} "${name}" in ${namespace}`
  try {
    return await kube.request<T>("GET", resourcePath(resource, namespace, name), { what })
  } catch (thrown) {
    if (!(thrown instanceof KubeError) || thrown.status !== 404) throw thrown
    throw new AppError("target-not-found", `There is no ${resource.kind} "${name}" in namespace "${namespace}"`, {
      cause: thrown,
      next: "List what can be used with `podside ls`, or name the namespace with --target-namespace.",
    })
  }
}

export async function podsBySelector(
  kube: Kube,
  namespace: string,
  selector: LabelSelector | undefined,
): Promise<Pod[]> {
  const labelSelector = formatSelector(selector)
  // An empty selector would mean every pod of the namespace.
  if (labelSelector === "") return []
  const pods = await kube.list<Pod>(podPath(namespace), { query: { labelSelector }, what: `list pods in ${namespace}` })
  return pods.sort((a, b) => (a.metadata.creationTimestamp ?? "").localeCompare(b.metadata.creationTimestamp ?? ""))
}

async function podsOfCronJob(kube: Kube, namespace: string, cronJob: Workload): Promise<Pod[]> {
  const jobs = await kube.list<Workload>(resourcePath(resources.job, namespace), { what: `list jobs in ${namespace}` })
  const own = jobs.filter((job) => job.metadata.ownerReferences?.some((owner) => owner.uid === cronJob.metadata.uid))
  return (await Promise.all(own.map((job) => podsBySelector(kube, namespace, job.spec?.selector)))).flat()
}

/** The text form of the `labelSelector` parameter. */
export function formatSelector(selector: LabelSelector | undefined): string {
  const equal = Object.entries(selector?.matchLabels ?? {}).map(([key, value]) => `${key}=${value}`)
  const rules = (selector?.matchExpressions ?? []).map(({ key, operator, values = [] }) => {
    if (operator === "Exists") return key
    if (operator === "DoesNotExist") return `!${key}`
    return `${key} ${operator === "In" ? "in" : "notin"} (${values.join(",")})`
  })
  return [...equal, ...rules].join(",")
}

/** A pod with the controllers above it, nearest first (ReplicaSet, then Deployment). Owners that are gone end the chain. */
export async function resolvePod(kube: Kube, pod: Pod, namespace: string): Promise<ResolvedPod> {
  const owners: { kind: string; name: string }[] = []
  let above = controllerOf(pod.metadata.ownerReferences)
  while (above && owners.length < maxOwners) {
    owners.push({ kind: above.kind, name: above.name })
    above = controllerOf(await ownersOf(kube, namespace, above))
  }
  return { name: pod.metadata.name, namespace, labels: pod.metadata.labels ?? {}, owners }
}

/** Longer chains do not occur; the limit is there so that a circle ends. */
const maxOwners = 5

const controllerOf = (owners: OwnerReference[] | undefined) => owners?.find((owner) => owner.controller) ?? owners?.[0]

async function ownersOf(kube: Kube, namespace: string, { kind, name }: OwnerReference) {
  // Only these two have an owner podside knows.
  const resource = kind === "ReplicaSet" ? resources.replicaset : kind === "Job" ? resources.job : undefined
  if (!resource) return undefined
  try {
    return (await read<Workload>(kube, resource, namespace, name)).metadata.ownerReferences
  } catch (thrown) {
    if (thrown instanceof AppError && (thrown.code === "target-not-found" || thrown.code === "kube-forbidden"))
      return undefined
    throw thrown
  }
}

/** Says why nothing can be used: no pods at all, or none that is ready. */
export function noUsablePod(target: Target, namespace: string, reasons: readonly string[]): AppError {
  const name = formatTarget(target)
  return new AppError(
    "target-not-ready",
    reasons.length === 0
      ? `"${name}" in namespace "${namespace}" has no pods`
      : `No pod of "${name}" in namespace "${namespace}" can be used: ${reasons.join("; ")}`,
    { next: "Look with `kubectl describe` why, and try again when a pod is ready." },
  )
}
