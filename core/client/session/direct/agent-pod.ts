import type { AgentOptions } from "../../../kube/agent-options.ts"
import { type AgentIdentity, agentJob, ephemeralAgent } from "../../../kube/agent-spec.ts"
import { KubeError } from "../../../kube/errors.ts"
import type { Kube } from "../../../kube/kube.ts"
import type { Pod } from "../../../kube/objects.ts"
import { podPath, resourcePath, resources } from "../../../kube/resources.ts"
import type { ChosenPod } from "./choose-pod.ts"

/** Somebody waits for the end, and an agent without a client ends by itself. In milliseconds. */
const removalLimitMs = 5_000

const nodes = { group: "", version: "v1", resource: "nodes" }

/** An agent that was created, and how to get rid of it. */
export interface CreatedAgent {
  namespace: string
  /** Name of the Job, or of the pod with the ephemeral container. */
  name: string
  ephemeralContainer?: string
  remove(): Promise<void>
}

/** @throws KubeError "kube-forbidden" when the user may not create Jobs */
export async function createAgentJob(
  kube: Kube,
  namespace: string,
  identity: AgentIdentity,
  options: AgentOptions,
  chosen: ChosenPod | undefined,
): Promise<CreatedAgent> {
  const nodeHostname = chosen && (await hostnameOf(kube, chosen.pod.spec.nodeName))
  const body = agentJob(identity, options, chosen && { ...chosen, nodeHostname })
  await kube.request("POST", resourcePath(resources.job, namespace), { body, what: `create jobs in ${namespace}` })
  return {
    namespace,
    name: identity.name,
    async remove() {
      const path = resourcePath(resources.job, namespace, identity.name)
      const what = `delete jobs "${identity.name}" in ${namespace}`
      const options = { query: { propagationPolicy: "Background" }, what, timeoutMs: removalLimitMs }
      await kube.request("DELETE", path, options).catch(ignoreAbsence)
    },
  }
}

/** Nothing to remove, or nobody allowed to: an agent without a client ends by itself, and its Job with it. */
function ignoreAbsence(thrown: unknown): void {
  if (!(thrown instanceof KubeError) || (thrown.status !== 404 && thrown.status !== 403)) throw thrown
}

/** Undefined when nodes may not be read, or this one is none: then the pod is bound to the node by its name. */
async function hostnameOf(kube: Kube, node: string | undefined): Promise<string | undefined> {
  if (!node) return undefined
  try {
    const { metadata } = await kube.request<Pod>("GET", resourcePath(nodes, undefined, node), {
      what: `get nodes "${node}"`,
    })
    const fake = metadata.labels?.["vcluster.loft.sh/fake-node"] === "true"
    return fake ? undefined : metadata.labels?.["kubernetes.io/hostname"]
  } catch (thrown) {
    if (thrown instanceof KubeError) return undefined
    throw thrown
  }
}

/** @throws KubeError "kube-forbidden" when the user may not update `pods/ephemeralcontainers` */
export async function addEphemeralAgent(
  kube: Kube,
  namespace: string,
  identity: AgentIdentity,
  options: AgentOptions,
  chosen: ChosenPod,
): Promise<CreatedAgent> {
  const { pod } = chosen
  const { name } = pod.metadata
  const { resourceVersion: _, ...metadata } = pod.metadata
  const ephemeralContainers = [...(pod.spec.ephemeralContainers ?? []), ephemeralAgent(identity, options, chosen)]
  const body = { ...pod, metadata, spec: { ...pod.spec, ephemeralContainers } }
  await kube.request("PUT", `${podPath(namespace, name)}/ephemeralcontainers`, {
    body,
    what: `update pods/ephemeralcontainers of "${name}" in ${namespace}`,
  })
  // Kubernetes cannot remove it; the agent ends when its client is gone.
  return { namespace, name, ephemeralContainer: identity.name, remove: async () => {} }
}
