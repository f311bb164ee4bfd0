import { AppError } from "./errors.ts"

/** Kinds a target path may start with, by every spelling accepted, to the one used inside podside. */
const kinds = {
  pod: "pod",
  deployment: "deployment",
  deploy: "deployment",
  rollout: "rollout",
  job: "job",
  cronjob: "cronjob",
  statefulset: "statefulset",
  service: "service",
  replicaset: "replicaset",
  daemonset: "daemonset",
} as const

export type TargetKind = (typeof kinds)[keyof typeof kinds]

/** Kinds only an operator can serve. */
export const operatorOnlyKinds: ReadonlySet<string> = new Set([
  "job",
  "cronjob",
  "statefulset",
  "service",
  "replicaset",
  "daemonset",
  "label",
] satisfies (TargetKind | "label")[])

/** What a session is about: a workload or pods by their labels (and maybe one of their containers), or nothing at all. */
export type Target =
  | { kind: "targetless" }
  | { kind: TargetKind; name: string; container?: string }
  | { kind: "label"; labels: Readonly<Record<string, string>>; container?: string }

/**
 * Reads `deployment/api`, `pod/web-0/container/app`, `label/app=web,tier=front`, `targetless`.
 * @throws AppError "bad-target"
 */
export function parseTarget(text: string): Target {
  if (text === "targetless") return { kind: "targetless" }
  if (text.startsWith("label/")) return parseLabelTarget(text)
  const parts = text.split("/")
  const [kindText = "", name = "", word, container] = parts
  const kind = Object.hasOwn(kinds, kindText) ? kinds[kindText as keyof typeof kinds] : undefined
  const whole = parts.length === 2 || (parts.length === 4 && word === "container" && container)
  if (!kind || !name || !whole) {
    throw new AppError("bad-target", `Cannot read target "${text}"`, {
      next:
        parts.length === 1 && text
          ? `Did you mean "pod/${text}"?`
          : `Write it as KIND/NAME or KIND/NAME/container/CONTAINER with KIND one of ${Object.keys(kinds).join(", ")}, as label/KEY=VALUE, or "targetless".`,
    })
  }
  return container ? { kind, name, container } : { kind, name }
}

/** Label keys may contain "/", so the last "/container/" is what ends them. */
function parseLabelTarget(text: string): Target {
  const end = text.lastIndexOf("/container/")
  const container = end < 0 ? undefined : text.slice(end + "/container/".length)
  const pairs = text.slice("label/".length, end < 0 ? undefined : end).split(",")
  const labels: Record<string, string> = {}
  for (const pair of pairs) {
    const at = pair.indexOf("=")
    const key = pair.slice(0, at)
    if (at < 1 || Object.hasOwn(labels, key) || container === "") {
      throw new AppError("bad-target", `Cannot read target "${text}"`, {
        next: "Write it as label/KEY=VALUE[,KEY=VALUE…][/container/CONTAINER], each key once.",
      })
    }
    labels[key] = pair.slice(at + 1)
  }
  return container ? { kind: "label", labels, container } : { kind: "label", labels }
}

/** The one spelling podside prints; `parseTarget` reads it back. */
export function formatTarget(target: Target): string {
  if (target.kind === "targetless") return "targetless"
  const tail = target.container ? `/container/${target.container}` : ""
  if (target.kind !== "label") return `${target.kind}/${target.name}${tail}`
  const labels = Object.entries(target.labels).map(([key, value]) => `${key}=${value}`)
  return `label/${labels.join(",")}${tail}`
}

/** How objects that are for some targets only name a target: `deploy/api`, `pod/web-0/container/app`, `label`, `targetless`. */
export function policyPath(target: Target): string {
  if (target.kind === "targetless" || target.kind === "label") return target.kind
  const kind = target.kind === "deployment" ? "deploy" : target.kind
  return `${kind}/${target.name}${target.container ? `/container/${target.container}` : ""}`
}
