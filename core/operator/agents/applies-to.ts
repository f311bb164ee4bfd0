import type { StealTlsSelector, StealTlsSpec } from "../../../config/manifests/steal-tls.ts"
import type { Target } from "../../target.ts"
import { matchesWildcard } from "../../wildcard.ts"
import { matches } from "./target-selector.ts"

/** How objects that are for some targets only name a target: `deploy/api`, `pod/web-0/container/app`, `label`, `targetless`. */
export function policyPath(target: Target): string {
  if (target.kind === "targetless" || target.kind === "label") return target.kind
  const kind = target.kind === "deployment" ? "deploy" : target.kind
  return `${kind}/${target.name}${target.container ? `/container/${target.container}` : ""}`
}

/** Both that are given must fit; an object without either is for every target it can see. */
export function appliesTo(
  { targetPath, selector }: Pick<StealTlsSpec, "targetPath" | "selector">,
  path: string,
  labels: Readonly<Record<string, string>>,
): boolean {
  if (typeof targetPath === "string" && !matchesWildcard(targetPath, path)) return false
  return (
    !needsLabels(selector) || matches(plain(selector))({ metadata: { name: "", labels }, spec: { containers: [] } })
  )
}

/** An empty selector fits everything. */
export const needsLabels = (selector: StealTlsSelector | null | undefined): selector is StealTlsSelector =>
  Object.keys(selector?.matchLabels ?? {}).length + (selector?.matchExpressions?.length ?? 0) > 0

const plain = ({ matchLabels, matchExpressions }: StealTlsSelector) => ({
  matchLabels: matchLabels ?? undefined,
  matchExpressions: matchExpressions?.map(({ key, operator, values }) => ({
    key,
    operator,
    values: values ?? undefined,
  })),
})
