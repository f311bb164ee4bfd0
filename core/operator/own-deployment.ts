import type { OperatorSettings } from "../../config/operator.ts"
import type { Kube } from "../kube/kube.ts"
import type { OwnerReference, Pod, Workload } from "../kube/objects.ts"
import { podPath, resourcePath, resources } from "../kube/resources.ts"
import type { Logger } from "../log.ts"

/** The Deployment this replica belongs to: agents are its property, so that they go when it is uninstalled. */
export async function ownDeployment(
  kube: Kube,
  { podName, namespace }: OperatorSettings,
  log: Logger,
): Promise<OwnerReference | undefined> {
  if (!podName) return undefined
  try {
    const pod = await kube.request<Pod>("GET", podPath(namespace, podName))
    const set = pod.metadata.ownerReferences?.find(({ kind }) => kind === "ReplicaSet")
    if (!set) return undefined
    const { metadata } = await kube.request<Workload>("GET", resourcePath(resources.replicaset, namespace, set.name))
    const owner = metadata.ownerReferences?.find(({ kind }) => kind === "Deployment")
    return owner && { apiVersion: owner.apiVersion, kind: owner.kind, name: owner.name, uid: owner.uid }
  } catch (error) {
    log.warn("the operator's own Deployment could not be found; agents will outlive an uninstall until they are idle", {
      error,
    })
    return undefined
  }
}
