import type { OperatorSettings } from "../../../config/operator.ts"
import { AppError, errorText } from "../../errors.ts"
import { KubeError } from "../../kube/errors.ts"
import { follow } from "../../kube/follow.ts"
import type { Kube } from "../../kube/kube.ts"
import type { OwnerReference, Pod } from "../../kube/objects.ts"
import { podPath } from "../../kube/resources.ts"
import type { Logger } from "../../log.ts"
import { type AgentPlace, agentName, agentObject, agentPort, ownerLabel, podPlace } from "./agent-object.ts"
import { type AgentSource, notStarted, type RunningAgent, type StealTlsSource } from "./agent-source.ts"
import { agentState, waitingFor } from "./agent-state.ts"

export interface AgentPoolOptions {
  kube: Kube
  settings: OperatorSettings
  operatorCertificate: string | undefined
  owner: OwnerReference | undefined
  log: Logger
  signal: AbortSignal
}

/** Names tried for one place before giving up; each stands for an agent that has ended but is still listed. */
const maxAttempts = 8

/**
 * All agents of the cluster, whichever replica started them. An agent is found by its place, made when there is none, and
 * its object is removed when it has ended. Agents end by themselves when nobody uses them.
 */
export class AgentPool implements AgentSource {
  readonly #options: AgentPoolOptions
  #agents: ReadonlyMap<string, Pod> = new Map()
  readonly #waiting = new Set<() => void>()
  readonly #removing = new Set<string>()

  constructor(options: AgentPoolOptions) {
    this.#options = options
  }

  /** Adopts what is there. @throws KubeError when agents may not be listed */
  start(): Promise<void> {
    const { kube, settings, signal, log } = this.#options
    return follow<Pod>({
      kube,
      path: "/api/v1/pods",
      query: { labelSelector: `app=mirrord,${ownerLabel}=${settings.ownerMarker}` },
      signal,
      log,
      onChange: (agents) => {
        this.#agents = agents
        for (const check of this.#waiting) check()
        for (const agent of agents.values()) this.#removeEnded(agent)
      },
    })
  }

  get size(): number {
    return this.#agents.size
  }

  async obtain(place: AgentPlace, signal: AbortSignal, stealTls: StealTlsSource): Promise<RunningAgent> {
    const { namespace, name } = await this.#ensure(place, stealTls)
    return this.#running(`${namespace}/${name}`, name, signal)
  }

  /** Makes the agent unless it is there. */
  async #ensure(place: AgentPlace, stealTls: StealTlsSource): Promise<{ namespace: string; name: string }> {
    for (let attempt = 0; attempt < maxAttempts; attempt++) {
      const wanted = agentName(place, attempt, this.#options.settings)
      const known = this.#agents.get(`${wanted.namespace}/${wanted.name}`)
      const state = known && agentState(known)
      if (state?.kind === "ended" || state?.kind === "failed") continue
      if (state || (await this.#create(place, attempt, stealTls))) return wanted
    }
    throw new AppError(
      "agent-not-started",
      `No agent could be started: ${maxAttempts} earlier ones are still being removed`,
      {
        next: "Try again in a minute.",
      },
    )
  }

  /** False when there is one of this name that has ended. */
  async #create(place: AgentPlace, attempt: number, stealTls: StealTlsSource): Promise<boolean> {
    const { kube, log } = this.#options
    const { namespace, name } = agentName(place, attempt, this.#options.settings)
    try {
      const [pod, stealTlsConfig] = await Promise.all([this.#podOf(place), stealTls()])
      const body = agentObject({ ...this.#options, place, pod, attempt, stealTlsConfig })
      await kube.request("POST", podPath(namespace), { body, what: `create agent ${name} in ${namespace}` })
      log.info("agent created", { agent: name, namespace })
      return true
    } catch (thrown) {
      if (!(thrown instanceof KubeError)) throw thrown
      if (thrown.status !== 409) throw notStarted(thrown.message, thrown)
      // Another request or replica was quicker; what it made may have ended already.
      const there = await kube.request<Pod>("GET", podPath(namespace, name)).catch(() => undefined)
      return there !== undefined && agentState(there).kind !== "ended"
    }
  }

  /** The pod an agent is to be beside, as long as it is still the one that was meant. */
  async #podOf({ key, namespace, beside }: AgentPlace): Promise<Pod | undefined> {
    if (!beside) return undefined
    const what = `get pod ${beside.pod} in ${namespace}`
    const pod = await this.#options.kube.request<Pod>("GET", podPath(namespace, beside.pod), { what })
    if (podPlace(pod, beside.container, namespace).key === key) return pod
    throw notStarted(`pod "${beside.pod}" has been replaced or restarted meanwhile`)
  }

  #running(key: string, name: string, cancelled: AbortSignal): Promise<RunningAgent> {
    const { promise, resolve, reject } = Promise.withResolvers<RunningAgent>()
    let seen = false
    const check = () => {
      const agent = this.#agents.get(key)
      if (!agent) return seen ? reject(notStarted("it was deleted")) : undefined
      seen = true
      const state = agentState(agent)
      if (state.kind === "running") return resolve(this.#runningAgent(key, agent, state.address))
      if (state.kind === "starting") return undefined
      this.#remove(agent)
      return reject(notStarted(state.why))
    }
    const leave = () => reject(cancelled.reason)
    const expired = async () => {
      const agent = await this.#asItIs(key, name)
      const state = agent && agentState(agent)
      if (state?.kind === "running") return resolve(this.#runningAgent(key, agent!, state.address))
      if (agent) this.#remove(agent)
      reject(notStarted(agent ? waitingFor(agent) : "it never appeared"))
    }
    const timer = setTimeout(expired, this.#options.settings.agent.startupSeconds * 1000)
    cancelled.addEventListener("abort", leave)
    this.#waiting.add(check)
    if (cancelled.aborted) leave()
    else check()
    return promise.finally(() => {
      this.#waiting.delete(check)
      clearTimeout(timer)
      cancelled.removeEventListener("abort", leave)
    })
  }

  #runningAgent(key: string, agent: Pod, hostname: string): RunningAgent {
    const { name, uid } = agent.metadata
    const onEnd = (listener: () => void) => {
      let seen = false
      const check = () => {
        const now = this.#agents.get(key)
        const isIt = now?.metadata.uid === uid
        seen ||= isIt
        if (isIt ? agentState(now!).kind === "ended" : seen) listener()
      }
      this.#waiting.add(check)
      check()
      return () => void this.#waiting.delete(check)
    }
    return { name, hostname, port: agentPort(agent), onEnd }
  }

  /**
   * What is known of an agent may be old: a replica that stood still for a while would take one away that others use by now. One
   * that cannot be asked about stays.
   */
  async #asItIs(key: string, name: string): Promise<Pod | undefined> {
    const namespace = this.#agents.get(key)?.metadata.namespace
    if (namespace === undefined) return undefined
    return this.#options.kube.request<Pod>("GET", podPath(namespace, name)).catch(() => undefined)
  }

  #removeEnded(agent: Pod): void {
    if (agentState(agent).kind === "ended" && !agent.metadata.deletionTimestamp) this.#remove(agent)
  }

  #remove({ metadata: { name, namespace, uid } }: Pod): void {
    const { kube, log, signal } = this.#options
    if (!uid || this.#removing.has(uid) || signal.aborted) return
    this.#removing.add(uid)
    kube
      // The uid keeps a namesake that was made meanwhile out of it.
      .request("DELETE", podPath(namespace!, name), {
        body: { preconditions: { uid } },
        query: { gracePeriodSeconds: 0 },
      })
      .then(() => log.info("agent removed", { agent: name, namespace }))
      .catch((thrown) => {
        const settled = thrown instanceof KubeError && (thrown.status === 404 || thrown.status === 409)
        if (!settled) log.warn("agent could not be removed", { agent: name, error: errorText(thrown) })
      })
      .finally(() => this.#removing.delete(uid))
  }
}
