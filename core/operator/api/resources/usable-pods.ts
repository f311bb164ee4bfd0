import { notUsable } from "../../../kube/containers.ts"
import type { Kube } from "../../../kube/kube.ts"
import { listByRows } from "../../../kube/list-by-rows.ts"
import type { Pod } from "../../../kube/objects.ts"
import { usableByRow } from "../../../kube/pod-rows.ts"
import { resourcePath, resources } from "../../../kube/resources.ts"
import { rowsOf, type Table } from "../../../kube/table.ts"

export interface NamedPod {
  name: string
  namespace: string
}

/** Agents are no targets. */
const noAgents = "app!=mirrord"

/** The pods a session could use now. @param labels selects among them @throws KubeError when pods may not be listed */
export async function usablePods(asCaller: Kube, namespace: string | undefined, labels?: string): Promise<NamedPod[]> {
  const pages = listByRows<Pod, NamedPod>(asCaller, resourcePath(resources.pod, namespace), {
    what: `list pods in ${namespace ?? "all namespaces"}`,
    labelSelector: labels ? `${noAgents},${labels}` : noAgents,
    // Only objects say which namespace a row is of.
    includeObject: namespace === undefined ? "Metadata" : "None",
    fromTable: (table) => byRows(table, namespace),
    fromItems: byObjects,
  })
  return (await Array.fromAsync(pages)).flat()
}

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
