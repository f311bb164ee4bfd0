import { notUsable } from "../../../kube/containers.ts"
import type { Kube } from "../../../kube/kube.ts"
import type { Pod } from "../../../kube/objects.ts"
import { usableByRow } from "../../../kube/pod-rows.ts"
import { resourcePath, resources } from "../../../kube/resources.ts"
import { asTable, rowsOf, type Table } from "../../../kube/table.ts"

export interface NamedPod {
  name: string
  namespace: string
}

interface PodList {
  kind: string
  items?: Pod[] | null
  metadata?: { continue?: string }
}

/** Agents are no targets. */
const labelSelector = "app!=mirrord"
const pageSize = 500

/**
 * The pods a session could use now. Rows of tables say enough of most, in a thirtieth of the bytes; a page with a pod of which they
 * do not is asked for once more, whole. @throws KubeError when pods may not be listed
 */
export async function usablePods(asCaller: Kube, namespace: string | undefined): Promise<NamedPod[]> {
  const found: NamedPod[] = []
  const what = `list pods in ${namespace ?? "all namespaces"}`
  // Only objects say which namespace a row is of.
  const includeObject = namespace === undefined ? "Metadata" : "None"
  let isWhole = false
  let next: string | undefined
  for (;;) {
    const list: Table | PodList = await asCaller.request("GET", resourcePath(resources.pod, namespace), {
      query: { labelSelector, limit: pageSize, continue: next, ...(isWhole ? {} : { includeObject }) },
      what,
      headers: { Accept: isWhole ? "application/json" : asTable },
    })
    const pods: NamedPod[] | undefined = isTable(list) ? byRows(list, namespace) : byObjects(list.items ?? [])
    isWhole = pods === undefined
    if (!pods) continue
    found.push(...pods)
    next = list.metadata?.continue || undefined
    if (!next) return found
  }
}

const isTable = (list: Table | PodList): list is Table => list.kind === "Table"

/** Undefined when a row does not tell. */
function byRows(table: Table, namespace: string | undefined): NamedPod[] | undefined {
  const pods: NamedPod[] = []
  for (const [index, row] of rowsOf(table).entries()) {
    const usable = usableByRow(row)
    if (usable === undefined) return undefined
    const own = namespace ?? table.rows?.[index]?.object?.metadata.namespace ?? ""
    if (usable) pods.push({ name: row("Name"), namespace: own })
  }
  return pods
}

function byObjects(pods: readonly Pod[]): NamedPod[] {
  return pods.flatMap((pod) => {
    const container = pod.spec.containers[0]?.name
    const usable = container !== undefined && notUsable(pod, container) === undefined
    return usable ? [{ name: pod.metadata.name, namespace: pod.metadata.namespace ?? "" }] : []
  })
}
