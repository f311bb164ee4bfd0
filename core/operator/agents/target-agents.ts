import { AppError } from "../../errors.ts"
import { chooseContainer, containerStatus, notUsable, runningContainers } from "../../kube/containers.ts"
import type { Kube } from "../../kube/kube.ts"
import type { Pod } from "../../kube/objects.ts"
import { type NamedObject, noUsablePod, resolvePod, targetPods } from "../../kube/pods.ts"
import type { Logger } from "../../log.ts"
import type { ResolvedPod } from "../../session.ts"
import type { Target } from "../../target.ts"
import type { PodAgent } from "../session/agent-connection.ts"
import type { SessionAgents } from "../session/session-agents.ts"
import { type AgentPlace, podPlace, targetlessPlace } from "./agent-object.ts"
import type { AgentSource, StealTlsSource } from "./agent-source.ts"
import { connectAgent } from "./connect-agent.ts"
import type { DialOptions } from "./dial.ts"
import type { PodWatch } from "./pod-watch.ts"
import { podMatcher } from "./target-selector.ts"

export interface TargetAgentsOptions {
  target: Target
  namespace: string
  /** The operator's own connection. */
  kube: Kube
  watch: PodWatch
  pool: AgentSource
  stealTls: StealTlsSource
  log: Logger
  identity: DialOptions["identity"]
  startupSeconds: number
  retryMs?: number
}

/** After something Kubernetes did not answer, in milliseconds. */
const usualRetryMs = 1_000

/** The agents of one session's target. A pod keeps its agent object for as long as its container lives. */
export class TargetAgents implements SessionAgents {
  readonly #options: TargetAgentsOptions
  #agents = new Map<string, PodAgent>()
  /** Of pods that are there and cannot be used at the moment. */
  #resting = new Map<string, PodAgent>()
  #pods: readonly ResolvedPod[] = []
  #listeners: readonly (() => void)[] = []
  readonly #owners = new Map<string, ResolvedPod>()
  #unsubscribe = () => {}
  #closed = false
  #generation = 0

  constructor(options: TargetAgentsOptions) {
    this.#options = options
  }

  /**
   * Finds the target's pods as the caller sees them, and the object that was named. @throws AppError "target-not-found", "kube-forbidden", "target-not-ready",
   * "container-not-found"
   */
  async resolve(asCaller: Kube): Promise<NamedObject> {
    const { target, namespace } = this.#options
    if (target.kind === "targetless") {
      this.#agents.set("targetless", this.#podAgent(targetlessPlace(namespace), undefined))
      return { labels: {} }
    }
    const { pods, uid, labels } = await targetPods(asCaller, target, namespace, { selectorIsEnough: true })
    const usable = usablePods(target, namespace, pods)
    // Who made these pods is the operator's own question, once the caller was shown workload and pods.
    const own = await this.#ownOf(usable)
    if (own.length === 0) throw noUsablePod(target, namespace, ["its selector fits only pods that it did not make"])
    this.#set(own)
    return { uid, labels }
  }

  /** From now on `all` is what the target's pods are, through rollouts, restarts and scaling. */
  async follow(): Promise<void> {
    const { kube, watch, target, namespace } = this.#options
    const isOurs = await this.#untilAnswered(
      () => podMatcher(kube, target, namespace),
      () => !this.#closed,
    )
    if (!isOurs || this.#closed) return
    this.#unsubscribe = watch.subscribe(namespace, isOurs, (pods) => void this.#update(pods))
  }

  async #update(pods: readonly Pod[]): Promise<void> {
    const generation = ++this.#generation
    // Asking for owners may take longer than the next change does to come.
    const isLatest = () => !this.#closed && generation === this.#generation
    const named = "container" in this.#options.target ? this.#options.target.container : undefined
    const chosen = withContainer(pods, named).map((pod) => ({ pod, container: chooseContainer(pod, named).name }))
    const usable = chosen.filter(({ pod, container }) => notUsable(pod, container) === undefined)
    const alive = new Set(pods.map(({ metadata }) => metadata.uid))
    for (const uid of this.#owners.keys()) if (!alive.has(uid)) this.#owners.delete(uid)
    // A pod may say nothing more after this: what is not answered now is asked again.
    const own = await this.#untilAnswered(() => this.#ownOf(usable), isLatest)
    if (!own || !isLatest()) return
    const begun = chosen.filter(({ pod, container }) => containerStatus(pod, container)?.containerID)
    this.#set(own, new Set(begun.map(({ pod, container }) => podPlace(pod, container, this.#options.namespace).key)))
  }

  /** @returns undefined when it is needed no longer. @throws what is an answer, if not the wished one */
  async #untilAnswered<T>(ask: () => Promise<T>, isNeeded: () => boolean): Promise<T | undefined> {
    const { log, retryMs = usualRetryMs } = this.#options
    while (isNeeded()) {
      try {
        return await ask()
      } catch (error) {
        if (error instanceof AppError && answers.has(error.code)) throw error
        log.warn("the target's pods cannot be followed at the moment", { error })
        await Bun.sleep(retryMs)
      }
    }
    return undefined
  }

  /** Pods with their labels of this moment and their owners, which never change, without those somebody else made. */
  async #ownOf(usable: readonly UsablePod[]) {
    const { kube, target, namespace } = this.#options
    const resolved = await Promise.all(
      usable.map(async (one) => {
        const uid = one.pod.metadata.uid ?? ""
        const found = this.#owners.get(uid) ?? (await resolvePod(kube, one.pod, namespace))
        // Two may have asked at once: a pod is one object to everybody.
        const resolved = this.#owners.get(uid) ?? found
        this.#owners.set(uid, Object.assign(resolved, { labels: one.pod.metadata.labels ?? {} }))
        return { ...one, resolved }
      }),
    )
    return resolved.filter((one) => madeBy(target, one.resolved))
  }

  /**
   * Takes what the target's pods are now; known ones keep their agents and their order, so that the primary stays.
   * @param present keys of the places there are, usable or not
   */
  #set(usable: readonly (UsablePod & { resolved: ResolvedPod })[], present: ReadonlySet<string> = new Set()): void {
    const agents = new Map<string, PodAgent>()
    const ranked = usable
      .map((one) => ({ ...one, place: podPlace(one.pod, one.container, this.#options.namespace) }))
      .sort((a, b) => Number(this.#agents.has(b.place.key)) - Number(this.#agents.has(a.place.key)))
    for (const { place, resolved } of ranked) {
      const known = this.#agents.get(place.key) ?? this.#resting.get(place.key)
      agents.set(place.key, known ?? this.#podAgent(place, resolved))
    }
    const known = new Map([...this.#resting, ...this.#agents])
    this.#resting = new Map([...known].filter(([key]) => present.has(key) && !agents.has(key)))
    const changed = agents.size !== this.#agents.size || [...agents.keys()].some((key) => !this.#agents.has(key))
    this.#agents = agents
    this.#pods = usable.map(({ resolved }) => resolved)
    if (changed) for (const listener of this.#listeners) listener()
  }

  primary(): PodAgent | undefined {
    return this.#agents.values().next().value
  }

  all(): readonly PodAgent[] {
    return [...this.#agents.values()]
  }

  pods(): readonly ResolvedPod[] {
    return this.#pods
  }

  onChange(listener: () => void): () => void {
    this.#listeners = [...this.#listeners, listener]
    return () => {
      this.#listeners = this.#listeners.filter((one) => one !== listener)
    }
  }

  close(): void {
    this.#closed = true
    this.#unsubscribe()
    this.#listeners = []
  }

  #podAgent(place: AgentPlace, pod: ResolvedPod | undefined): PodAgent {
    const { pool: source, stealTls, identity, startupSeconds } = this.#options
    const options = { source, place, stealTls, identity, patienceMs: startupSeconds * 1000 }
    return { pod, connect: (signal) => connectAgent({ ...options, signal }) }
  }
}

const answers: ReadonlySet<string> = new Set(["target-not-found", "kube-forbidden"])

/** Kinds whose pods carry them as an owner. Anybody may write a selector that fits somebody else's pods; that is not enough. */
const owningKinds = new Set<Target["kind"]>(["deployment", "statefulset", "daemonset", "replicaset", "job"])

function madeBy(target: Target, { owners }: ResolvedPod): boolean {
  if (!owningKinds.has(target.kind) || !("name" in target)) return true
  return owners.some(({ kind, name }) => kind.toLowerCase() === target.kind && name === target.name)
}

/** Pods of one target may differ: behind a service or labels, and while a rollout adds a container. One without it is not used. */
function withContainer(pods: readonly Pod[], named: string | undefined): readonly Pod[] {
  return named === undefined
    ? pods
    : pods.filter(({ spec }) => runningContainers(spec).some(({ name }) => name === named))
}

export interface UsablePod {
  pod: Pod
  container: string
}

/** @throws AppError "target-not-ready" saying why of each pod, "container-not-found" */
export function usablePods(target: Target, namespace: string, pods: readonly Pod[]): UsablePod[] {
  const named = "container" in target ? target.container : undefined
  const reasons: string[] = []
  const having = withContainer(pods, named)
  const [first] = pods
  if (first && having.length === 0) chooseContainer(first, named)
  const usable = having.flatMap((pod) => {
    const { name } = chooseContainer(pod, named)
    const reason = notUsable(pod, name)
    if (reason === undefined) return [{ pod, container: name }]
    reasons.push(`pod "${pod.metadata.name}": ${reason}`)
    return []
  })
  if (usable.length === 0) throw noUsablePod(target, namespace, reasons)
  return usable
}
