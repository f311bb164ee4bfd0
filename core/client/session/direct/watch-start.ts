import { AppError, errorText } from "../../../errors.ts"
import { KubeError } from "../../../kube/errors.ts"
import type { Kube } from "../../../kube/kube.ts"
import type { ContainerStatus, KubeEvent, Pod } from "../../../kube/objects.ts"
import { podPath, resourcePath } from "../../../kube/resources.ts"
import type { Step } from "../../progress.ts"

const eventsOf = (namespace: string) => resourcePath({ group: "", version: "v1", resource: "events" }, namespace)

/** Waiting reasons of a container that never end by themselves. */
const imageReasons = new Set([
  "ImagePullBackOff",
  "ErrImagePull",
  "InvalidImageName",
  "ErrImageNeverPull",
  "ImageInspectError",
])
const configReasons = new Set(["CreateContainerConfigError", "CreateContainerError", "RunContainerError"])
/** Events that only repeat what the tree of steps says anyway. */
const dullEvents = new Set(["SuccessfulCreate", "Scheduled", "Created", "Pulled"])

export interface StartWatch {
  /** Resolves with the agent's pod when it is worth trying to connect: its container has started, or is said to run. */
  readonly started: Promise<Pod>
  /** Rejects when the agent will never come up. */
  readonly failed: Promise<never>
  stop(): void
}

export interface StartWatchOptions {
  kube: Kube
  namespace: string
  /** Name of the agent's Job, or of the pod an ephemeral agent was added to. */
  name: string
  ephemeralContainer?: string
  image: string
  step: Step
}

/** Begin with what the server has at hand: to be sure of the newest state it may have to wait, and give up after 3 s. */
const anyState = { resourceVersion: 0 }

/** Follows an agent that is starting, and shows what Kubernetes says about it. */
export function watchStart(options: StartWatchOptions): StartWatch {
  const { kube, namespace, name, ephemeralContainer, step } = options
  const stopped = new AbortController()
  const { signal } = stopped
  const failed = Promise.withResolvers<never>()
  failed.promise.catch(() => {})
  const started = Promise.withResolvers<Pod>()
  let pod: Pod | undefined
  // The event of the container's start often comes earlier than the pod's status.
  let containerStarted = false
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
          ? containerFailure(ephemeralState(object, ephemeralContainer), options)
          : podFailure(object, options)
        if (refusal) throw refusal
        if (containerStarted || isRunning(object, ephemeralContainer)) started.resolve(object)
      }
      if (signal.aborted) return
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
      const refusal = eventFailure(event, namespace)
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
    if (error instanceof KubeError) return
    fail(error)
  })
  return {
    started: Promise.race([started.promise, failed.promise]),
    failed: failed.promise,
    stop: () => stopped.abort(new AppError("stopped", "No longer watched")),
  }
}

function isRunning(pod: Pod, ephemeralContainer: string | undefined): boolean {
  if (ephemeralContainer) return ephemeralState(pod, ephemeralContainer)?.state?.running !== undefined
  return pod.status?.phase === "Running" && (pod.status.containerStatuses ?? []).every((status) => status.ready)
}

const ephemeralState = (pod: Pod, name: string) =>
  pod.status?.ephemeralContainerStatuses?.find((status) => status.name === name)

function podFailure(pod: Pod, options: StartWatchOptions): AppError | undefined {
  const { phase, reason, message, conditions, containerStatuses } = pod.status ?? {}
  for (const status of containerStatuses ?? []) {
    const failure = containerFailure(status, options)
    if (failure) return failure
  }
  if (phase === "Failed" || phase === "Succeeded") {
    if (/^OutOf/.test(reason ?? "")) return nodeFull(pod, `${reason}: ${message}`)
    return new AppError(
      "agent-failed",
      `The agent's pod "${pod.metadata.name}" ended before it was ready: ${message ?? reason ?? phase}`,
      {
        next: `Look at \`kubectl logs -n ${options.namespace} ${pod.metadata.name}\`.`,
      },
    )
  }
  const unschedulable = conditions?.find(
    ({ type, status, reason: why }) => type === "PodScheduled" && status === "False" && why === "Unschedulable",
  )
  return unschedulable && nodeFull(pod, unschedulable.message ?? "no node fits")
}

function nodeFull(pod: Pod, why: string): AppError {
  return new AppError(
    "agent-unschedulable",
    `The agent's pod "${pod.metadata.name}" cannot be placed on a node: ${why}`,
    {
      next: "Free a place on the target's node, set agent.resources, agent.tolerations or agent.node_selector, or use an ephemeral container (--ephemeral-container).",
    },
  )
}

function containerFailure(status: ContainerStatus | undefined, options: StartWatchOptions): AppError | undefined {
  const { waiting, terminated } = status?.state ?? {}
  if (waiting?.reason && imageReasons.has(waiting.reason)) {
    return new AppError(
      "agent-image",
      `The agent's image ${options.image} cannot be used: ${waiting.message ?? waiting.reason}`,
      {
        next: "Check agent.image, agent.image_pull_policy and agent.image_pull_secrets.",
      },
    )
  }
  if (waiting?.reason && configReasons.has(waiting.reason)) {
    return new AppError(
      "agent-container",
      `The agent's container cannot be created: ${waiting.message ?? waiting.reason}`,
      {
        next: "Check agent.security_context, agent.service_account and the policies of the cluster.",
      },
    )
  }
  if (!terminated) return undefined
  const detail = [terminated.reason, terminated.message, `exit code ${terminated.exitCode}`].filter(Boolean).join(", ")
  return new AppError("agent-failed", `The agent ended before it was ready: ${detail}`, {
    next: "Look at the agent's log with `kubectl logs`.",
  })
}

function deleted(pod: Pod): AppError {
  return new AppError("agent-deleted", `The agent's pod "${pod.metadata.name}" was deleted while it started`, {
    next: "An admission policy or a clean-up job of the cluster may have done it: ask the cluster's owner.",
  })
}

/** A Job whose pod is refused says so in events only. */
function eventFailure({ reason, message = "" }: KubeEvent, namespace: string): AppError | undefined {
  if (reason !== "FailedCreate" && reason !== "FailedScheduling") return undefined
  if (reason === "FailedScheduling") return undefined
  const security = /violates PodSecurity/i.test(message)
  return new AppError(
    security ? "agent-pod-security" : "agent-refused",
    `The cluster refuses the agent's pod: ${errorText(message)}`,
    {
      next: security
        ? `Namespace "${namespace}" does not allow pods like the agent: name one that does with --agent-namespace, or use an operator.`
        : "Ask the cluster's owner, or name another namespace with --agent-namespace.",
    },
  )
}
