import { AppError } from "../../../errors.ts"
import { KubeError } from "../../../kube/errors.ts"
import type { Kube } from "../../../kube/kube.ts"
import type { KubeEvent, Pod } from "../../../kube/objects.ts"
import { podPath, resourcePath } from "../../../kube/resources.ts"
import type { Step } from "../../progress.ts"
import type { AgentPlace } from "./refused.ts"
import { containerFailure, deleted, eventFailure, podFailure } from "./start-failures.ts"

const eventsOf = (namespace: string) => resourcePath({ group: "", version: "v1", resource: "events" }, namespace)

/** How often a start that takes long is accounted for, and the pause before a watch that has ended is begun again, in milliseconds. */
const sayEveryMs = 20_000
const watchPauseMs = 250

/** Events that only repeat what the tree of steps says anyway. */
const dullEvents = new Set(["SuccessfulCreate", "Scheduled", "Created", "Pulled"])

export interface StartWatch {
  /** Resolves with the agent's pod when it is worth trying to connect: its container has started, or is said to run. */
  readonly started: Promise<Pod>
  /** Rejects when the agent will never come up. */
  readonly failed: Promise<never>
  /** The agent's pod as it was seen last. */
  readonly pod: Pod | undefined
  /** What the start is waiting for, as half a sentence. */
  waitingFor(): string
  stop(): void
}

export interface StartWatchOptions {
  kube: Kube
  namespace: string
  /** Name of the agent's Job, or of the pod an ephemeral agent was added to. */
  name: string
  ephemeralContainer?: string
  image: string
  place: AgentPlace
  step: Step
  /** Default: every 20 s. */
  sayEveryMs?: number
}

/** Begin with what the server has at hand: to be sure of the newest state it may have to wait, and give up after 3 s. */
const anyState = { resourceVersion: 0 }

/** Follows an agent that is starting, and shows what Kubernetes says about it. */
export function watchStart(options: StartWatchOptions): StartWatch {
  const { kube, namespace, name, ephemeralContainer, image, place, step } = options
  const stopped = new AbortController()
  const { signal } = stopped
  const failed = Promise.withResolvers<never>()
  failed.promise.catch(() => {})
  const started = Promise.withResolvers<Pod>()
  let pod: Pod | undefined
  // The event of the container's start often comes earlier than the pod's status.
  let containerStarted = false
  let mayReadEvents = true
  const fail = (error: unknown) => {
    if (!signal.aborted) failed.reject(error)
  }

  const followPod = async () => {
    const query = {
      ...anyState,
      ...(ephemeralContainer ? { fieldSelector: `metadata.name=${name}` } : { labelSelector: `job-name=${name}` }),
    }
    const what = `watch pods in ${namespace}`
    for (;;) {
      for await (const { type, object } of kube.watch<Pod>(podPath(namespace), { query, what, signal })) {
        if (type === "DELETED") throw deleted(object)
        pod = object
        const refusal = ephemeralContainer
          ? containerFailure(ephemeralState(object, ephemeralContainer), image)
          : podFailure(object, image)
        if (refusal) throw refusal
        if (containerStarted || isRunning(object, ephemeralContainer)) started.resolve(object)
      }
      if (signal.aborted) return
      await Bun.sleep(watchPauseMs)
    }
  }

  const seen = new Set<string>()
  const followEvents = async () => {
    for await (const { object: event } of kube.watch<KubeEvent>(eventsOf(namespace), {
      query: anyState,
      what: `watch events in ${namespace}`,
      signal,
    })) {
      const about = event.involvedObject?.name ?? ""
      const text = `${event.reason}: ${event.message}`
      if (!about.startsWith(name) || seen.has(text)) continue
      if (ephemeralContainer && !event.message?.includes(ephemeralContainer)) continue
      seen.add(text)
      const refusal = eventFailure(event, place)
      if (refusal) throw refusal
      if (event.type === "Warning") step.warn(text)
      else if (!dullEvents.has(event.reason ?? "") && event.reason !== "Started") step.info(text)
      if (event.reason === "Started") {
        containerStarted = true
        if (pod) started.resolve(pod)
      }
    }
  }

  followPod().catch(fail)
  followEvents().catch((error) => {
    // Events are a courtesy: not everybody may read them.
    if (error instanceof KubeError) mayReadEvents = false
    else fail(error)
  })
  const waitingFor = () => {
    if (pod) return podState(pod, ephemeralContainer)
    return mayReadEvents
      ? "Kubernetes has made no pod for it yet"
      : `Kubernetes has made no pod for it, and you may not read the events in ${namespace} that tell why`
  }
  const saying = setInterval(() => step.warn(`Still waiting: ${waitingFor()}`), options.sayEveryMs ?? sayEveryMs)
  return {
    started: Promise.race([started.promise, failed.promise]),
    failed: failed.promise,
    get pod() {
      return pod
    },
    waitingFor,
    stop() {
      clearInterval(saying)
      stopped.abort(new AppError("stopped", "No longer watched"))
    },
  }
}

function isRunning(pod: Pod, ephemeralContainer: string | undefined): boolean {
  if (ephemeralContainer) return ephemeralState(pod, ephemeralContainer)?.state?.running !== undefined
  return pod.status?.phase === "Running" && (pod.status.containerStatuses ?? []).every((status) => status.ready)
}

function podState(pod: Pod, ephemeralContainer: string | undefined): string {
  const { phase, containerStatuses } = pod.status ?? {}
  const status = ephemeralContainer ? ephemeralState(pod, ephemeralContainer) : containerStatuses?.[0]
  const { waiting, running } = status?.state ?? {}
  if (running) return "its container runs, and does not answer"
  if (waiting) return `its container waits: ${[waiting.reason, waiting.message].filter(Boolean).join(", ")}`
  return ephemeralContainer ? "its container has not been made yet" : `its pod is ${phase ?? "of no phase yet"}`
}

const ephemeralState = (pod: Pod, name: string) =>
  pod.status?.ephemeralContainerStatuses?.find((status) => status.name === name)
