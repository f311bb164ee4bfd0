import { AppError } from "../../../errors.ts"
import { KubeError } from "../../../kube/errors.ts"
import type { Kube } from "../../../kube/kube.ts"
import type { Pod } from "../../../kube/objects.ts"
import { podPath } from "../../../kube/resources.ts"
import { endings } from "./start-failures.ts"

/** Kubernetes tells the end of a container up to a second or two later than its connections do. In milliseconds. */
const limitMs = 2_500
const pauseMs = 300

/** Where an agent runs. */
export interface AgentPod {
  kube: Kube
  namespace: string
  name: string
  ephemeralContainer?: string
}

/**
 * Why an agent whose connection was cut is gone, as Kubernetes sees it: its container has ended, its pod was evicted or deleted. The
 * error stays what it is where nothing is known. Never rejects.
 */
export async function explainLoss(error: AppError, peer: string, agent: AgentPod): Promise<AppError> {
  const signal = AbortSignal.timeout(limitMs)
  try {
    for (;;) {
      const end = await endOf(agent, signal)
      if (end)
        return new AppError(error.code, `Lost the ${peer}: ${end.why}`, { cause: error, next: end.next ?? error.next })
      await Bun.sleep(pauseMs)
    }
  } catch {
    return error
  }
}

interface End {
  why: string
  next?: string
}

async function endOf({ kube, namespace, name, ephemeralContainer }: AgentPod, signal: AbortSignal) {
  const what = `get pods "${name}" in ${namespace}`
  try {
    const pod = await kube.request<Pod>("GET", podPath(namespace, name), { what, signal })
    return ephemeralContainer ? endOfContainer(pod, ephemeralContainer) : endOfPod(pod)
  } catch (thrown) {
    if (thrown instanceof KubeError && thrown.status === 404) return { why: "its pod was deleted" }
    throw thrown
  }
}

function endOfPod(pod: Pod): End | undefined {
  const { reason, message } = pod.status ?? {}
  if (reason === "Evicted") return { why: `its pod was evicted: ${message ?? "no reason given"}` }
  if (pod.metadata.deletionTimestamp !== undefined) return { why: "its pod was deleted" }
  return endOfContainer(pod)
}

function endOfContainer({ status }: Pod, ephemeralContainer?: string): End | undefined {
  const own = ephemeralContainer
    ? status?.ephemeralContainerStatuses?.find(({ name }) => name === ephemeralContainer)
    : status?.containerStatuses?.[0]
  const ended = own?.state?.terminated
  if (!ended) return undefined
  const reason = ended.reason ?? "no reason given"
  return { why: `its container ended (${reason}, exit code ${ended.exitCode})`, next: endings[reason] }
}
