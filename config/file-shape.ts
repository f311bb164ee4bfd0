import type { Target, TargetKind } from "../core/target.ts"
import type { Config } from "./load.ts"

/** The long form's key for each kind of target. */
const keys: Record<TargetKind, string> = {
  pod: "pod",
  deployment: "deployment",
  rollout: "rollout",
  job: "job",
  cronjob: "cron_job",
  statefulset: "stateful_set",
  service: "service",
  replicaset: "replica_set",
  daemonset: "daemon_set",
}

/** A target as a configuration file writes it in long form; null for none. */
export function targetInFile(target: Target | undefined): string | null | Record<string, unknown> {
  if (target === undefined) return null
  if (target.kind === "targetless") return "targetless"
  const container = target.container === undefined ? {} : { container: target.container }
  return target.kind === "label"
    ? { labels: target.labels, ...container }
    : { [keys[target.kind]]: target.name, ...container }
}

/** A loaded configuration as a file that loads to the same. */
export function fileShape(config: Config): Record<string, unknown> {
  const { image, ...agent } = config.agent
  const whole = image?.whole === undefined ? image && { registry: image.registry, tag: image.tag } : image.whole
  return {
    ...config,
    target: { path: targetInFile(config.target.path), namespace: config.target.namespace ?? null },
    agent: whole === undefined ? agent : { ...agent, image: whole },
  }
}
