import { chooseContainer, notUsable, runningContainers } from "../../../kube/containers.ts"
import type { Kube } from "../../../kube/kube.ts"
import type { Pod } from "../../../kube/objects.ts"
import { noUsablePod, podsOf } from "../../../kube/pods.ts"
import { probedPorts } from "../../../kube/probes.ts"
import { formatTarget, type Target } from "../../../target.ts"
import type { PodFacts } from "../../agent-session.ts"
import type { Step } from "../../progress.ts"

export interface ChosenPod {
  pod: Pod
  container: string
}

/**
 * One ready pod of the target and its container; undefined for "targetless".
 * @throws AppError "target-not-found", "target-not-ready", "container-not-found"
 */
export async function choosePod(
  kube: Kube,
  target: Target,
  namespace: string,
  step: Step,
): Promise<ChosenPod | undefined> {
  if (target.kind === "targetless") return undefined
  // The user acts with their own permissions here, so a selector that is too wide is no way around anything.
  const pods = await podsOf(kube, target, namespace, { selectorIsEnough: true })
  const reasons: string[] = []
  for (const pod of pods) {
    const { name: container, others } = chooseContainer(pod, target.container)
    const why = notUsable(pod, container)
    if (why) {
      reasons.push(`${pod.metadata.name}: ${why}`)
      continue
    }
    if (others.length > 0) step.warn(`Using container "${container}"; there is also ${others.join(", ")}`)
    if (pods.length > 1 && target.kind !== "pod") {
      step.info(
        `"${formatTarget(target)}" has ${pods.length} pods, only "${pod.metadata.name}" is used without an operator`,
      )
    }
    return { pod, container }
  }
  throw noUsablePod(target, namespace, reasons)
}

export function factsOf({ pod, container }: ChosenPod): PodFacts {
  const own = runningContainers(pod.spec).find(({ name }) => name === container)
  const mounts = (own?.volumeMounts ?? []).map(({ mountPath, subPath, subPathExpr }) => ({
    path: mountPath,
    isPart: subPath !== undefined || subPathExpr !== undefined,
  }))
  return { mounts, probedPorts: probedPorts(pod) }
}
