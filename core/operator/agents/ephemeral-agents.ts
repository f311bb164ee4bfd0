import type { OperatorSettings } from "../../../config/operator.ts"
import { KubeError } from "../../kube/errors.ts"
import type { Kube } from "../../kube/kube.ts"
import type { Pod } from "../../kube/objects.ts"
import { podPath } from "../../kube/resources.ts"
import type { Logger } from "../../log.ts"
import { type AgentPlace, agentIdentity, ephemeralObject, podPlace } from "./agent-object.ts"
import { type AgentSource, notStarted, type RunningAgent, type StealTlsSource } from "./agent-source.ts"
import { ephemeralState } from "./agent-state.ts"
import type { PodWatch } from "./pod-watch.ts"

export interface EphemeralAgentsOptions {
  kube: Kube
  settings: OperatorSettings
  operatorCertificate: string | undefined
  watch: PodWatch
  /** For sessions without a target: there is no pod to be a part of. */
  targetless: AgentSource
  log: Logger
}

type Beside = NonNullable<AgentPlace["beside"]>
type Ephemeral = Pick<RunningAgent, "name" | "port"> & { namespace: string; pod: string; uid: string | undefined }

/**
 * Agents as ephemeral containers of the target's pod. Kubernetes can neither stop nor remove one: an agent ends by itself
 * when nobody uses it, its container stays in the pod's list, and the next one gets another name.
 */
export class EphemeralAgents implements AgentSource {
  readonly #options: EphemeralAgentsOptions

  constructor(options: EphemeralAgentsOptions) {
    this.#options = options
  }

  async obtain(place: AgentPlace, signal: AbortSignal, stealTls: StealTlsSource): Promise<RunningAgent> {
    const { settings, targetless } = this.#options
    if (!place.beside) return targetless.obtain(place, signal, stealTls)
    const agent = await this.#ensure(place, place.beside, signal, stealTls)
    const deadline = AbortSignal.any([signal, AbortSignal.timeout(settings.agent.startupSeconds * 1000)])
    return this.#running(agent, deadline, signal)
  }

  /** The first agent of this place that has not ended; every replica makes up the same names. */
  async #ensure(place: AgentPlace, beside: Beside, signal: AbortSignal, stealTls: StealTlsSource): Promise<Ephemeral> {
    const { kube, log } = this.#options
    const { namespace } = place
    const name = beside.pod
    const path = podPath(namespace, name)
    const pod = await kube.request<Pod>("GET", path, { signal, what: `get pod ${name} in ${namespace}` })
    if (podPlace(pod, beside.container, namespace).key !== place.key) throw notStarted(`pod "${name}" was replaced`)
    const { uid } = pod.metadata
    const target = { pod, container: beside.container }
    for (let attempt = 0; ; attempt++) {
      const { name: agentName, port } = agentIdentity(place.key, attempt, this.#options.settings.agent.port)
      const agent = { name: agentName, port, namespace, pod: name, uid }
      const known = pod.spec.ephemeralContainers?.some((one) => one.name === agentName)
      if (known && ephemeralState(pod, agentName).kind === "ended") continue
      if (known) return agent
      const stealTlsConfig = await stealTls()
      const container = ephemeralObject(place, target, { ...this.#options, attempt, stealTlsConfig })
      await kube
        .request("PATCH", `${path}/ephemeralcontainers`, {
          // Two replicas that add the same container at once add it once.
          body: { metadata: { uid }, spec: { ephemeralContainers: [container] } },
          contentType: "application/strategic-merge-patch+json",
          what: `add ephemeral container ${agentName} to pod ${name} in ${namespace}`,
        })
        .catch((thrown) => {
          throw thrown instanceof KubeError ? notStarted(thrown.message, thrown) : thrown
        })
      log.info("ephemeral agent added", { agent: agentName, namespace, pod: name })
      return agent
    }
  }

  #running({ namespace, pod: podName, uid, ...agent }: Ephemeral, deadline: AbortSignal, cancelled: AbortSignal) {
    const { promise, resolve, reject } = Promise.withResolvers<RunningAgent>()
    let waitingFor = "the target's pod was not seen"
    let isSeen = false
    // A pod of a StatefulSet has the name of the one before.
    const isIt = ({ metadata }: Pod) => metadata.name === podName && metadata.uid === uid
    const onEnd = (listener: () => void) =>
      this.#options.watch.subscribe(namespace, isIt, ([pod]) => {
        if (!pod || ephemeralState(pod, agent.name).kind === "ended") listener()
      })
    const stop = this.#options.watch.subscribe(namespace, isIt, ([pod]) => {
      if (!pod) return isSeen ? reject(notStarted(`pod "${podName}" was deleted`)) : undefined
      isSeen = true
      const state = ephemeralState(pod, agent.name)
      if (state.kind === "running") return resolve({ ...agent, hostname: state.address, onEnd })
      if (state.kind !== "starting") return reject(notStarted(state.why))
      const { waiting } = pod.status?.ephemeralContainerStatuses?.find(({ name }) => name === agent.name)?.state ?? {}
      waitingFor = waiting?.message ?? waiting?.reason ?? "its container was not created yet"
    })
    const expired = () => reject(cancelled.aborted ? cancelled.reason : notStarted(waitingFor))
    deadline.addEventListener("abort", expired)
    if (deadline.aborted) expired()
    return promise.finally(() => {
      stop()
      deadline.removeEventListener("abort", expired)
    })
  }
}
