import type { Config } from "../../../config/load.ts"
import { AppError } from "../../errors.ts"
import type { Kube } from "../../kube/kube.ts"
import { openKube } from "../../kube/kube.ts"
import { formatTarget, operatorOnlyKinds, type Target } from "../../target.ts"
import type { AgentSession } from "../agent-session.ts"
import { agentOptions, kubeOptions } from "../settings.ts"
import { connectToAddress } from "./address.ts"
import { openDirectSession } from "./direct/session.ts"
import { findOperator, trialNotice } from "./operator/find.ts"
import { ignoredSettings } from "./operator/ignored-settings.ts"
import { isCopied, openOperatorSession } from "./operator/session.ts"
import type { SessionOptions } from "./options.ts"

/**
 * A session by the way the configuration asks for: an agent that runs already, the cluster's operator when there is one,
 * else an agent of its own.
 */
export async function openSession(options: SessionOptions): Promise<AgentSession> {
  const { config, step, log, signal } = options
  if (options.agentAddress !== undefined) {
    return step.run("connecting to the agent", () => connectToAddress(options.agentAddress!))
  }
  const kube = openKube(kubeOptions(config))
  const target: Target = config.target.path ?? { kind: "targetless" }
  const namespace = config.target.namespace ?? kube.namespace
  const operator =
    config.operator === false
      ? undefined
      : await step.run("checking for an operator", (checking) =>
          findOperator(kube, config, ({ reason }) =>
            checking.warn(`the cluster's operator is out of service, and done without: ${reason}`),
          ),
        )
  const trial = operator && trialNotice(operator.description.spec)
  if (trial?.isLate) step.warn(trial.text)
  else if (trial) step.info(trial.text)
  const ignored = operator && ignoredSettings(config)
  if (ignored !== undefined) step.warn(ignored)
  if (operator) return openOperatorSession({ ...options, kube, operator, target, namespace })
  if (config.operator === true) {
    throw new AppError("operator-missing", "The configuration wants the operator, and the cluster has none", {
      next: "Ask the cluster's owner to install it, or leave out `operator: true` to work without.",
    })
  }
  refuseWhatNeedsTheOperator(config, target)
  return openDirectSession({
    kube,
    target,
    namespace,
    agentNamespace: agentNamespace(config, kube, target, namespace),
    agent: agentOptions(config),
    ephemeral: config.agent.ephemeral,
    transport: config.agent.transport,
    startupTimeoutMs: config.agent.startup_timeout * 1_000,
    step,
    log,
    signal,
  })
}

function agentNamespace(config: Config, kube: Kube, target: Target, namespace: string): string {
  return target.kind === "targetless" ? namespace : (config.agent.namespace ?? kube.namespace)
}

/** @throws AppError "operator-needed" */
export function refuseWhatNeedsTheOperator(config: Config, target: Target): void {
  const wanted = operatorOnlyKinds.has(target.kind)
    ? `target "${formatTarget(target)}"`
    : config.feature.copy_target.enabled
      ? "feature.copy_target"
      : undefined
  if (wanted === undefined) return
  throw new AppError("operator-needed", `The ${wanted} can only be used with an operator, and there is none`, {
    next: isCopied(target.kind)
      ? "Choose a pod of it that runs: `podside ls -t pod` lists them."
      : "Use a pod, deployment or rollout, or ask the cluster's owner to install the operator.",
  })
}
