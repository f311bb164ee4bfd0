import { runningContainers } from "../../kube/containers.ts"
import type { ContainerStatus, Pod } from "../../kube/objects.ts"

const defaultContainer = "kubectl.kubernetes.io/default-container"

/**
 * What sessions look at of a pod they follow: who it is, whose it is, and whether it can be used. A namespace may have tens of
 * thousands of pods, and the rest is most of each.
 */
export function watchedPod({ metadata, spec, status }: Pod): Pod {
  const { name, namespace, uid, resourceVersion, deletionTimestamp, labels, ownerReferences } = metadata
  const chosen = metadata.annotations?.[defaultContainer]
  const beside = runningContainers(spec).slice(spec.containers.length)
  const besideStatuses = status?.initContainerStatuses?.filter((one) => beside.some((own) => own.name === one.name))
  return {
    metadata: {
      name,
      ...(namespace !== undefined && { namespace }),
      ...(uid !== undefined && { uid }),
      ...(resourceVersion !== undefined && { resourceVersion }),
      ...(deletionTimestamp !== undefined && { deletionTimestamp }),
      ...(labels && { labels }),
      ...(ownerReferences && { ownerReferences }),
      ...(chosen !== undefined && { annotations: { [defaultContainer]: chosen } }),
    },
    spec: {
      ...(spec.nodeName !== undefined && { nodeName: spec.nodeName }),
      containers: spec.containers.map((container) => ({ name: container.name })),
      ...(beside.length > 0 && {
        initContainers: beside.map(({ name, restartPolicy }) => ({ name, restartPolicy })),
      }),
    },
    ...(status && {
      status: {
        ...(status.phase !== undefined && { phase: status.phase }),
        ...(status.podIP !== undefined && { podIP: status.podIP }),
        ...(status.containerStatuses && { containerStatuses: status.containerStatuses.map(watchedStatus) }),
        ...(besideStatuses?.length && { initContainerStatuses: besideStatuses.map(watchedStatus) }),
        ...(status.ephemeralContainerStatuses && {
          ephemeralContainerStatuses: status.ephemeralContainerStatuses.map(watchedStatus),
        }),
      },
    }),
  }
}

const watchedStatus = ({ name, ready, containerID, state }: ContainerStatus): ContainerStatus => ({
  name,
  ...(ready !== undefined && { ready }),
  ...(containerID !== undefined && { containerID }),
  ...(state && { state }),
})
