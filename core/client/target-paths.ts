import { chooseContainer, notUsable, sidecarNames } from "../kube/containers.ts"
import { KubeError } from "../kube/errors.ts"
import type { Kube } from "../kube/kube.ts"
import { listByRows } from "../kube/list-by-rows.ts"
import type { Pod, Workload } from "../kube/objects.ts"
import { usableByRow } from "../kube/pod-rows.ts"
import { resourcePath, resources } from "../kube/resources.ts"
import { type Row, rowsOf, type Table } from "../kube/table.ts"
import type { TargetKind } from "../target.ts"

/** Agents and what operators make are no targets. */
const labelSelector = "app!=mirrord,!operator.metalbear.co/owner"

type Item = Workload & Pod

/**
 * Paths of what can be a target, such as "pod/web-0".
 * @param unready also what has nothing running
 * @throws KubeError when pods may not be listed; of another kind that is refused or unknown there is nothing
 */
export async function targetPaths(
  kube: Kube,
  kind: TargetKind,
  namespace: string,
  unready: boolean,
): Promise<string[]> {
  const paths: string[] = []
  const pages = listByRows<Item, string>(kube, resourcePath(resources[kind], namespace), {
    what: `list ${resources[kind].resource} in ${namespace}`,
    labelSelector,
    includeObject: "None",
    fromTable: (table) => pathsByRows(table, kind, unready),
    fromItems: (items) => items.flatMap((object) => pathsTo(object, kind, unready)),
    // Neighbours are alike: with a mesh every pod has two containers.
    areHardToTell: (items) => kind === "pod" && items.some(hasSeveralContainers),
  })
  try {
    for await (const page of pages) paths.push(...page)
    return paths
  } catch (thrown) {
    // Not allowed to see them, or the cluster does not know the kind: then there is nothing to choose.
    const isNothing = thrown instanceof KubeError && (thrown.status === 403 || thrown.status === 404)
    if (kind === "pod" || !isNothing) throw thrown
    return paths
  }
}

function pathsByRows(table: Table, kind: TargetKind, unready: boolean): string[] | undefined {
  const found: (string[] | undefined)[] = rowsOf(table).map((row) => pathsByRow(row, kind, unready))
  return found.includes(undefined) ? undefined : found.flatMap((each) => each ?? [])
}

/** Undefined where the row does not tell: of a pod with several containers it has not their names. */
function pathsByRow(row: Row, kind: TargetKind, unready: boolean): string[] | undefined {
  const path = [`${kind}/${row("Name")}`]
  if (kind === "deployment" && !unready) {
    const available = row("Available")
    return available === "" ? undefined : Number(available) > 0 ? path : []
  }
  if (kind !== "pod") return path
  if (!/^[01]\/1$/.test(row("Ready"))) return undefined
  if (unready) return path
  const usable = usableByRow(row)
  return usable === undefined ? undefined : usable ? path : []
}

function pathsTo(object: Item, kind: TargetKind, unready: boolean): string[] {
  if (kind === "pod") return podPaths(object, unready)
  if (kind === "deployment" && !unready && (object.status?.availableReplicas ?? 0) === 0) return []
  return [`${kind}/${object.metadata.name}`]
}

function podPaths(pod: Pod, unready: boolean): string[] {
  const { name } = pod.metadata
  if (!unready && notUsable(pod, chooseContainer(pod).name)) return []
  const containers = pod.spec.containers.filter((container) => !sidecarNames.has(container.name))
  if (containers.length === 1) return [`pod/${name}`]
  return containers.map((container) => `pod/${name}/container/${container.name}`)
}

/** Those that run beside the others from the pod's start on are counted in its row, too. */
function hasSeveralContainers({ spec }: Pod): boolean {
  return (
    spec.containers.length > 1 || (spec.initContainers ?? []).some(({ restartPolicy }) => restartPolicy === "Always")
  )
}
