import { chooseContainer, notUsable, sidecarNames } from "../kube/containers.ts"
import { KubeError } from "../kube/errors.ts"
import type { Kube } from "../kube/kube.ts"
import type { Pod, Workload } from "../kube/objects.ts"
import { usableByRow } from "../kube/pod-rows.ts"
import { resourcePath, resources } from "../kube/resources.ts"
import { asTable, type Row, rowsOf, type Table } from "../kube/table.ts"
import type { TargetKind } from "../target.ts"

/** Agents and what operators make are no targets. */
const labelSelector = "app!=mirrord,!operator.metalbear.co/owner"
const pageSize = 500

type Item = Workload & Pod
interface List {
  kind: string
  items?: Item[] | null
  metadata?: { continue?: string }
}

/**
 * Paths of what can be a target, such as "pod/web-0". Rows of tables say enough of most; a page with a pod of which they do
 * not is asked for once more, whole.
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
  let isWhole = false
  let next: string | undefined
  try {
    for (;;) {
      const list: Table | List = await kube.request("GET", resourcePath(resources[kind], namespace), {
        query: { labelSelector, limit: pageSize, continue: next, includeObject: "None" },
        what: `list ${resources[kind].resource} in ${namespace}`,
        headers: { Accept: isWhole ? "application/json" : asTable },
      })
      if (isTable(list) && !isWhole) {
        const found: (string[] | undefined)[] = rowsOf(list).map((row) => pathsByRow(row, kind, unready))
        isWhole = found.includes(undefined)
        if (isWhole) continue
        paths.push(...found.flatMap((each) => each ?? []))
      } else {
        const items: readonly Item[] = (list as List).items ?? []
        paths.push(...items.flatMap((object) => pathsTo(object, kind, unready)))
        // Neighbours are alike: with a mesh every pod has two containers.
        isWhole = kind === "pod" && items.some(hasSeveralContainers)
      }
      next = list.metadata?.continue || undefined
      if (!next) return paths
    }
  } catch (thrown) {
    // Not allowed to see them, or the cluster does not know the kind: then there is nothing to choose.
    const isNothing = thrown instanceof KubeError && (thrown.status === 403 || thrown.status === 404)
    if (kind === "pod" || !isNothing) throw thrown
    return paths
  }
}

const isTable = (list: Table | List): list is Table => list.kind === "Table"

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
