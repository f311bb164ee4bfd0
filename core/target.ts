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

/** What a session is about: a workload (and maybe one of its containers), or nothing at all. */
export type Target = { kind: "targetless" } | { kind: TargetKind; name: string; container?: string }

/**
 * Reads `deployment/api`, `pod/web-0/container/app`, `targetless`.
 * @throws AppError "bad-target"
 */
export function parseTarget(text: string): Target {
  const parts = text.split("/")
  const [kindText = "", name = "", word, container] = parts
  if (parts.length === 1 && kindText === "targetless") return { kind: "targetless" }
  const kind = Object.hasOwn(kinds, kindText) ? kinds[kindText as keyof typeof kinds] : undefined
  const whole = parts.length === 2 || (parts.length === 4 && word === "container" && container)
  if (!kind || !name || !whole) {
    throw new AppError("bad-target", `Cannot read target "${text}"`, {
      next: `Write it as KIND/NAME or KIND/NAME/container/CONTAINER with KIND one of ${Object.keys(kinds).join(", ")}, or "targetless".`,
    })
  }
  return container ? { kind, name, container } : { kind, name }
}

/** The one spelling podside prints; `parseTarget` reads it back. */
export function formatTarget(target: Target): string {
  if (target.kind === "targetless") return "targetless"
  const { kind, name, container } = target
  return container ? `${kind}/${name}/container/${container}` : `${kind}/${name}`
}
