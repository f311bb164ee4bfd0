import type { Target, TargetKind } from "../../target.ts"
import { badRequest } from "./status.ts"

/*
 * Targets in URLs: `deployment.shop`, `pod.web-0.container.app`, `label`, `targetless`.
 * Workload names may contain dots: the kind ends at the first dot, the container stands behind the last ".container.".
 */

/** Key of a target in configuration form, and the word other places use. */
const kinds: Record<string, { kind: TargetKind; key: string }> = {
  deployment: { kind: "deployment", key: "deployment" },
  deploy: { kind: "deployment", key: "deployment" },
  pod: { kind: "pod", key: "pod" },
  rollout: { kind: "rollout", key: "rollout" },
  job: { kind: "job", key: "job" },
  cronjob: { kind: "cronjob", key: "cron_job" },
  statefulset: { kind: "statefulset", key: "stateful_set" },
  service: { kind: "service", key: "service" },
  replicaset: { kind: "replicaset", key: "replica_set" },
  daemonset: { kind: "daemonset", key: "daemon_set" },
}

const containerMark = ".container."

/** `label` needs the labels, which travel beside the name. @throws StatusError 400 */
export function parseTargetName(name: string, label?: { labels: Record<string, string>; container?: string }): Target {
  if (name === "targetless") return { kind: "targetless" }
  if (name === "label") {
    if (!label || Object.keys(label.labels).length === 0)
      throw badRequest('Target "label" needs the parameter label_target')
    return { kind: "label", labels: label.labels, ...(label.container ? { container: label.container } : {}) }
  }
  const dot = name.indexOf(".")
  const kindText = name.slice(0, dot)
  const word = Object.hasOwn(kinds, kindText) ? kinds[kindText] : undefined
  const rest = name.slice(dot + 1)
  const mark = rest.lastIndexOf(containerMark)
  const workload = mark < 0 ? rest : rest.slice(0, mark)
  const container = mark < 0 ? undefined : rest.slice(mark + containerMark.length)
  if (dot < 1 || !word || !isName(workload) || (container !== undefined && !isName(container))) {
    throw badRequest(`"${name.slice(0, 300)}" is not a target: write KIND.NAME or KIND.NAME.container.CONTAINER`)
  }
  return container === undefined ? { kind: word.kind, name: workload } : { kind: word.kind, name: workload, container }
}

/** The URL name; RBAC `resourceNames` are these. */
export function targetName(target: Target): string {
  if (target.kind === "targetless" || target.kind === "label") return target.kind
  return `${target.kind}.${target.name}${target.container ? containerMark + target.container : ""}`
}

/** The target in configuration form, as `Target` objects show it. */
export function configForm(target: Target): Record<string, unknown> | null {
  if (target.kind === "targetless") return null
  if (target.kind === "label")
    return { labels: target.labels, ...(target.container ? { container: target.container } : {}) }
  return { [kinds[target.kind]!.key]: target.name, container: target.container ?? null }
}

/** A DNS-1123 subdomain; nothing else can name a workload, and nothing else may get into a path. */
function isName(text: string): boolean {
  return text.length <= 253 && /^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$/.test(text)
}
