import { setTimeout as sleep } from "node:timers/promises"
import { AppError } from "../../../errors.ts"
import { chooseContainer } from "../../../kube/containers.ts"
import { KubeError } from "../../../kube/errors.ts"
import type { Kube } from "../../../kube/kube.ts"
import { podsOf } from "../../../kube/pods.ts"
import { formatTarget, type Target } from "../../../target.ts"
import type { AgentSession, PodFacts } from "../../agent-session.ts"
import { factsOf } from "../direct/choose-pod.ts"
import type { SessionOptions } from "../options.ts"
import { connectOperator } from "./connect.ts"
import { connectRequest, newSessionId, sessionIdText } from "./connect-url.ts"
import { clientCertificate } from "./credential.ts"
import type { Operator } from "./find.ts"
import { reconnect, sessionGone } from "./reconnect.ts"
import { retried } from "./retry.ts"

/** The operator may hold the upgrade while it starts agents. */
const upgradeLimitMs = 120_000
/** One attempt to come back to a session; others follow. */
const reconnectLimitMs = 30_000

export interface OperatorSessionOptions extends SessionOptions {
  kube: Kube
  operator: Operator
  target: Target
  namespace: string
}

/**
 * A session through the cluster's operator.
 * @throws AppError "operator-rejected" when the operator says no, "feature-unsupported", "operator-credential"
 */
export async function openOperatorSession(options: OperatorSessionOptions): Promise<AgentSession> {
  const { kube, operator, target, namespace, config, step, signal } = options
  requireFeatures(options)
  const certificate = await step.run("preparing the certificate", (inner) =>
    clientCertificate(kube, operator, { warn: (text) => inner.warn(text) }),
  )
  const pod = await targetFacts(options)
  const id = newSessionId()
  const branch = process.env["MIRRORD_BRANCH_NAME"]
  const { path, headers } = connectRequest(operator, target, namespace, config, { id, certificate, branch })
  const peer = `operator ${operator.description.spec.operator_version}`
  const what = `open a session with "${formatTarget(target)}" in ${namespace}`
  const connect = (timeoutMs: number, signal: AbortSignal, version?: string) =>
    connectOperator(kube, {
      path,
      headers,
      peer,
      what,
      timeoutMs,
      signal,
      ...(version === undefined ? {} : { version }),
    })
  return step.run("opening a session with the operator", async (inner) => {
    const first = await retried(operator.retry, () => connect(upgradeLimitMs, signal), signal).catch((thrown) => {
      throw rejection(thrown, what)
    })
    inner.info(`session ${sessionIdText(id)}`)
    let current = first
    const reconnecting = async (signal: AbortSignal) => {
      const attempt = () =>
        connect(reconnectLimitMs, signal, first.protocolVersion).catch((thrown) => {
          throw sessionGone(thrown) ?? thrown
        })
      current = await reconnect({ attempt, pause: (ms) => pause(ms, signal), signal })
      return current
    }
    return {
      ...first,
      peer,
      pod,
      ...(operator.supports("LayerReconnect") ? { reconnect: reconnecting } : {}),
      async close() {
        current.link.close()
        await current.link.ended
      },
    }
  })
}

async function pause(ms: number, signal: AbortSignal): Promise<void> {
  // Rejects when the session is over, which whoever waits looks at himself.
  await sleep(ms, undefined, { signal }).catch(() => {})
}

/**
 * Read with the user's own permissions; without them, or where the target may run in another cluster, the session goes on and knows
 * nothing of a pod. @throws AppError "target-not-found", "container-not-found"
 */
export async function targetFacts({
  kube,
  operator,
  config,
  target,
  namespace,
}: Pick<OperatorSessionOptions, "kube" | "operator" | "config" | "target" | "namespace">): Promise<
  PodFacts | undefined
> {
  if (target.kind === "targetless") return undefined
  const isElsewhere = operator.supports("MultiClusterPrimary") && config.multi_cluster !== false
  if (isElsewhere && target.kind !== "label") return undefined
  try {
    const [pod] = await podsOf(kube, target, namespace, { selectorIsEnough: true })
    return pod && factsOf({ pod, container: chooseContainer(pod, target.container).name })
  } catch (thrown) {
    if (thrown instanceof KubeError && thrown.status === 403) return undefined
    throw thrown
  }
}

/** A session with one is one with a copy of it. */
export const isCopied = (kind: Target["kind"]): boolean => kind === "job" || kind === "cronjob"

/** @throws AppError "feature-unsupported", "copy-target-unsupported", "operator-no-copies" */
export function requireFeatures({
  config,
  operator,
  target,
}: Pick<OperatorSessionOptions, "config" | "operator" | "target">): void {
  if (isCopied(target.kind) && !operator.supports("CopyTarget")) {
    throw new AppError(
      "operator-no-copies",
      `A ${target.kind} is used as a copy, and the cluster's operator makes none`,
      {
        next: "Choose a pod of it that runs: `podside ls -t pod` lists them.",
      },
    )
  }
  const needed = [
    ...(target.kind === "label" ? ["LabelTargeting"] : []),
    ...(config.feature.copy_target.enabled ? ["CopyTarget"] : []),
  ]
  for (const feature of needed) {
    if (operator.supports(feature)) continue
    const { operator_version } = operator.description.spec
    throw new AppError("feature-unsupported", `The operator ${operator_version} does not have ${feature}`, {
      next: "Ask the cluster's owner to enable it, or change the configuration.",
    })
  }
  if (!config.feature.copy_target.enabled) return
  throw new AppError("copy-target-unsupported", "podside cannot ask this operator for a copy of a target", {
    next: "Leave out feature.copy_target and choose a workload that runs, or use mirrord with this operator.",
  })
}

/** Only `message` of a refusal is meant for people; what a policy says stands there. */
function rejection(thrown: unknown, what: string): unknown {
  if (!(thrown instanceof KubeError)) return thrown
  const message = thrown.body.message ?? `HTTP status ${thrown.status}`
  if (thrown.status === 403) {
    return new AppError("operator-rejected", `The operator does not let you ${what}: ${message}`, {
      cause: thrown,
      next: "Ask the cluster's owner; with `operator: false` podside works without the operator.",
    })
  }
  // To come again is no use, or was of none: what it says is for the user.
  if (thrown.status === 401) return thrown
  return new AppError("operator-failed", thrown.message, {
    cause: thrown,
    next: "If its words do not help, ask the cluster's owner to look at the operator's log; with `operator: false` podside works without it.",
  })
}
