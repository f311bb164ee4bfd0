import type { StealTlsSelector, StealTlsSpec } from "../../../config/manifests/steal-tls.ts"
import { matchesWildcard } from "../../wildcard.ts"
import { matches } from "./target-selector.ts"

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
