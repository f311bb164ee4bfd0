import { AppError, errorText } from "../../../errors.ts"
import type { AgentOptions } from "../../../kube/agent-options.ts"
import { newAgentIdentity } from "../../../kube/agent-spec.ts"
import { meshOf } from "../../../kube/containers.ts"
import type { Kube } from "../../../kube/kube.ts"
import type { Logger } from "../../../log.ts"
import type { Target } from "../../../target.ts"
import type { AgentSession } from "../../agent-session.ts"
import type { Step } from "../../progress.ts"
import { addEphemeralAgent, type CreatedAgent, createAgentJob } from "./agent-pod.ts"
import { type ChosenPod, choosePod, factsOf } from "./choose-pod.ts"
import { type Connector, createConnector, type DirectConnection, type Transport } from "./connect.ts"
import { explained } from "./last-log-lines.ts"
import { explainLoss } from "./loss.ts"
import { type AgentPlace, refusedCreation } from "./refused.ts"
import { type StartWatch, watchStart } from "./watch-start.ts"

export interface DirectOptions {
  kube: Kube
  target: Target
  /** Namespace of the target, and of an agent without one. */
  namespace: string
  /** Namespace of the agent's Job. */
  agentNamespace: string
  agent: AgentOptions
  ephemeral: boolean
  transport: Transport
  startupTimeoutMs: number
  step: Step
  log: Logger
  /** Aborted when the user gives up. */
  signal: AbortSignal
}

/** Between attempts to reach an agent whose container has just started, in milliseconds. */
const firstPauseMs = 15
const longestPauseMs = 250

/**
 * Creates an agent beside the target, without an operator, and connects to it through the API server. Whatever fails, what
 * was created is removed again.
 * @throws AppError "agent-image", "agent-unschedulable", "agent-pod-security", "agent-start-timeout", "agent-proxy-failed", "agent-refused", …
 */
export async function openDirectSession(options: DirectOptions): Promise<AgentSession> {
  const limit = AbortSignal.timeout(options.startupTimeoutMs)
  const signal = AbortSignal.any([limit, options.signal])
  let created: CreatedAgent | undefined
  let connector: Connector | undefined
  let watch: StartWatch | undefined
  try {
    const chosen = await options.step.run("finding the target", (step) =>
      until(signal, choosePod(options.kube, options.target, options.namespace, step)),
    )
    warnAboutMesh(chosen, options)
    const identity = newAgentIdentity()
    const place = placeOf(options)
    const agent = await options.step.run("creating the agent", () =>
      create(options, identity, chosen).catch((thrown) => {
        throw refusedCreation(thrown, place)
      }),
    )
    created = agent
    const agentPod = { ...agent, kube: options.kube }
    const peer = `agent ${identity.name} (${agent.namespace})`
    const { link, protocolVersion, settled } = await options.step.run("waiting for the agent", async (step) => {
      const started = watchStart({ ...options, ...agent, image: options.agent.image, place, step })
      watch = started
      const connect = async () => {
        const { metadata } = await started.started
        agentPod.name = metadata.name
        const pod = { namespace: agent.namespace, name: metadata.name, port: identity.port }
        connector = createConnector({ ...options, pod, peer, signal })
        return connectWhenReady(connector, started, signal)
      }
      try {
        return await until(signal, connect())
      } finally {
        started.stop()
      }
    })
    let closing: Promise<void> | undefined
    return {
      link,
      protocolVersion,
      peer,
      settled,
      pod: chosen && factsOf(chosen),
      explainLoss: (error) => explainLoss(error, peer, agentPod),
      close() {
        closing ??= (async () => {
          link.close()
          await remove(agent, options.step)
          await link.ended
        })()
        return closing
      },
    }
  } catch (thrown) {
    const failure = await explained(thrown, options.kube, created, watch?.pod)
    if (created) await remove(created, options.step)
    if (!limit.aborted || options.signal.aborted) throw failure
    if (connector?.failure) throw connector.failure
    const why = watch ? `: ${watch.waitingFor()}` : ""
    throw new AppError(
      "agent-start-timeout",
      `The agent was not ready within ${options.startupTimeoutMs / 1_000} s${why}`,
      {
        cause: thrown,
        next: "Look at its pod while it starts with `kubectl describe pods -l app=mirrord`, or allow more time with --agent-startup-timeout.",
      },
    )
  }
}

/** What became of the program counts, not whether its agent could be removed. */
async function remove(agent: CreatedAgent, step: Step): Promise<void> {
  await agent.remove().catch((error) => {
    step.warn(`The agent ${agent.name} could not be removed (${errorText(error)}); it ends by itself`)
  })
}

function placeOf({ ephemeral, target, namespace, agentNamespace }: DirectOptions): AgentPlace {
  if (ephemeral) return { kind: "ephemeral", namespace }
  return { kind: target.kind === "targetless" ? "targetless" : "targeted", namespace: agentNamespace }
}

function create(options: DirectOptions, identity: ReturnType<typeof newAgentIdentity>, chosen: ChosenPod | undefined) {
  if (!options.ephemeral) return createAgentJob(options.kube, options.agentNamespace, identity, options.agent, chosen)
  if (!chosen)
    throw new AppError("ephemeral-targetless", "An ephemeral agent needs a target", { next: "Name one with --target." })
  return addEphemeralAgent(options.kube, options.namespace, identity, options.agent, chosen)
}

/** Tries to connect from the container's start on: its status lags behind by up to a second. */
async function connectWhenReady(
  connector: Connector,
  watch: StartWatch,
  signal: AbortSignal,
): Promise<DirectConnection> {
  for (let pauseMs = firstPauseMs; ; pauseMs = Math.min(pauseMs * 1.3, longestPauseMs)) {
    const connected = await connector.connect()
    if (connected) return connected
    await Promise.race([Bun.sleep(pauseMs), watch.failed])
    signal.throwIfAborted()
  }
}

function warnAboutMesh(chosen: ChosenPod | undefined, { agent, step }: DirectOptions): void {
  if (chosen && meshOf(chosen.pod) === "istio-ambient" && !agent.privileged) {
    step.warn("The target is in an Istio ambient mesh: the agent will not start unless agent.privileged is true")
  }
}

async function until<T>(signal: AbortSignal, work: Promise<T>): Promise<T> {
  const aborted = Promise.withResolvers<never>()
  aborted.promise.catch(() => {})
  const stop = () => aborted.reject(signal.reason)
  if (signal.aborted) stop()
  signal.addEventListener("abort", stop, { once: true })
  try {
    return await Promise.race([work, aborted.promise])
  } finally {
    signal.removeEventListener("abort", stop)
  }
}
