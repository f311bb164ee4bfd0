import { AppError, errorText } from "../core/errors.ts"
import type { Interceptor } from "../core/interceptor.ts"
import type { Logger } from "../core/log.ts"
import { targetEnded } from "../core/protocol/index.ts"
import type { ClientLink } from "./client-link.ts"
import { Clients } from "./clients.ts"
import type { AgentOptions } from "./command-line.ts"
import { createDns } from "./dns/feature.ts"
import { createEnvironment } from "./environment.ts"
import type { AgentContext, AgentFeature } from "./feature.ts"
import { createFiles } from "./files/feature.ts"
import { dirtyExitCode, refuseForeignRules } from "./foreign-rules.ts"
import { listenForClients } from "./listener.ts"
import { keepOutOfMesh } from "./mesh-exclusion.ts"
import { AgentMetrics } from "./metrics.ts"
import { serveMetrics } from "./metrics-server.ts"
import { operatorTls } from "./operator-tls.ts"
import { createOutgoing } from "./outgoing/feature.ts"
import type { AgentSettings } from "./settings.ts"
import { joinTarget } from "./target/join.ts"

/**
 * The line clients wait for in the container's log. Mirrord's agent adds its version and clients warn when that is not
 * their own; the version is optional for all of them, so ours, which could only ever differ, is left out.
 */
const readyLine = "agent ready"

const inTheWay: End = { exitCode: dirtyExitCode, reason: "Rules of another agent are in the way" }
/** How long clients get to take their last message; one that reads has it long before. */
const goodbyeMilliseconds = 1000
/** How long each feature gets to undo what it did. */
const undoMilliseconds = 5000

export interface AgentRun {
  options: AgentOptions
  settings: AgentSettings
  log: Logger
  /** Ends the agent in good order. */
  signal: AbortSignal
  /** Called when there is a target; undefined when nothing can intercept here. */
  interceptor(): Promise<Interceptor | undefined>
  /** Writes one line to standard output. */
  print(line: string): void
}

/** Why the agent ends; clients hear the reason. */
interface End {
  exitCode: 0 | 1 | typeof dirtyExitCode
  reason: string
}

/**
 * Runs until nobody needs the agent any more. Resolves with the exit code once everything is undone.
 * @throws AppError when it cannot start
 */
export async function runAgent({ options, settings, log, signal, interceptor, print }: AgentRun): Promise<number> {
  const { promise: ended, resolve: end } = Promise.withResolvers<End>()
  const stopping = new AbortController()
  const undo: (() => unknown)[] = []
  const onSignal = () => end({ exitCode: 0, reason: "The agent was told to stop" })
  signal.addEventListener("abort", onSignal)
  undo.push(() => signal.removeEventListener("abort", onSignal))
  try {
    const tls = tlsOf(settings)
    const joined = await joinTarget(options.mode, settings, log)
    undo.push(joined.close)
    const { target, surroundings } = joined
    if (joined.settled && options.listen.kind === "tcp") throw settledOnTcp()
    let features: AgentFeature[] = []
    const onTargetEnded = () => {
      for (const feature of features) feature.targetEnded?.()
      end({ exitCode: 0, reason: targetEnded })
    }
    undo.push(joined.watch(onTargetEnded))

    const metrics = new AgentMetrics()
    const metricsServer = settings.metricsAddress ? serveMetrics(settings.metricsAddress, metrics) : undefined
    if (metricsServer) undo.push(metricsServer.stop)
    const fail = (error: Error) => end({ exitCode: 1, reason: errorText(error) })
    const context: AgentContext = { target, surroundings, settings, metrics, log, signal: stopping.signal, fail }
    const provided = target && (await interceptor())
    const refusal = target && provided && (await refuseForeignRules(provided, target, options.mode, settings, log))
    if (refusal !== undefined) {
      const refusing = listenForClients(options.listen, tls, log, (link) => {
        void tellAndEnd(link, refusal).then(() => end(inTheWay))
        return undefined
      })
      undo.push(refusing.stop)
      print(readyLine)
      setTimeout(() => end(inTheWay), options.firstClientSeconds * 1000).unref()
      return (await ended).exitCode
    }
    features = await createFeatures(context, provided)
    undo.push(() => Promise.all(features.map((feature) => feature.close?.())))

    const clients = new Clients({
      features,
      metrics,
      log,
      firstClientSeconds: options.firstClientSeconds,
      idleSeconds: settings.idleSeconds,
      onNoClient: () => end({ exitCode: 1, reason: "Timeout on accepting first client connection" }),
      onFirstClient: () => options.testError && end({ exitCode: 1, reason: "Failed as --test-error demands" }),
      onIdle: () => end({ exitCode: 0, reason: "The last client is gone" }),
    })
    const listener = listenForClients(options.listen, tls, log, (link) => clients.add(link))
    undo.push(listener.stop)
    const { address } = listener
    if (provided && target && options.mode.kind === "ephemeral" && listener.port !== undefined) {
      const include = await keepOutOfMesh(provided, target, listener.port, settings)
      if (include) undo.push(include)
      if (include) log.info("the mesh leaves the agent's port alone", { port: listener.port })
    }
    log.info("listening", { address, mode: options.mode.kind, pid: target?.pid, metricsPort: metricsServer?.port })
    print(readyLine)

    const { exitCode, reason } = await ended
    log.info("stopping", { reason, exitCode })
    await atMost(goodbyeMilliseconds, clients.endAll(reason))
    return exitCode
  } finally {
    stopping.abort()
    for (const step of undo.reverse()) await atMost(undoMilliseconds, attempt(step, log))
  }
}

async function createFeatures(context: AgentContext, interceptor: Interceptor | undefined): Promise<AgentFeature[]> {
  const features = [createEnvironment(context), createFiles(context), createDns(context), createOutgoing(context)]
  if (!interceptor) return features
  const { createIncoming } = await import("./incoming/incoming.ts")
  return [...features, createIncoming(context, interceptor)]
}

/** Resolves when the client has the reason, or does not want it. */
async function tellAndEnd(link: ClientLink, reason: string): Promise<void> {
  link.send({ kind: "Close", value: reason })
  link.close()
  await atMost(goodbyeMilliseconds, link.ended)
}

function tlsOf({ operatorCertificate, requireTls }: AgentSettings) {
  if (operatorCertificate !== undefined) return operatorTls(operatorCertificate)
  if (!requireTls) return undefined
  throw new AppError("tls-required", "This agent must speak TLS only, and has no operator's certificate", {
    next: "Give the certificate in AGENT_OPERATOR_CERT_ENV, or unset PODSIDE_AGENT_REQUIRE_TLS.",
  })
}

function settledOnTcp(): AppError {
  return new AppError("cannot-listen", "Without the way back to its own network this agent cannot listen on a port", {
    next: "Use --listen unix:PATH.",
  })
}

async function attempt(step: () => unknown, log: Logger): Promise<void> {
  try {
    await step()
  } catch (thrown) {
    log.error("could not undo", { error: thrown })
  }
}

async function atMost(milliseconds: number, work: Promise<unknown>): Promise<void> {
  let timer: ReturnType<typeof setTimeout> | undefined
  const limit = new Promise((resolve) => {
    timer = setTimeout(resolve, milliseconds)
  })
  await Promise.race([work, limit])
  clearTimeout(timer)
}
