import { hasMangleRule, type IptablesKind, type NatTable } from "./iptables-programs.ts"

/**
 * `sidecar`: a proxy in the pod takes what comes in and passes it on from inside. `ambient`: the same by a proxy of the node, which
 * speaks with the callers' addresses. `unseen`: there is said to be one whose rules are not in these tables.
 */
export type Mesh = "none" | "sidecar" | "ambient" | "unseen"

/** Jumps by which Istio, Linkerd and Kuma take what a pod sends. */
const meshRule = /^-A OUTPUT .*-j (?:ISTIO_OUTPUT|PROXY_INIT_OUTPUT|KUMA_MESH_OUTBOUND)$/
const istioRule = /^-A OUTPUT .*-j ISTIO_OUTPUT$/

/** What the rules of one kind of iptables tell. @throws AppError "iptables-failed" */
export function meshOf(kind: IptablesKind, tables: readonly NatTable[], isExpected: boolean): Mesh {
  const jumps = tables.flatMap((table) => table.rules().filter((rule) => meshRule.test(rule)))
  if (jumps.length === 0) return isExpected ? "unseen" : "none"
  return jumps.some((rule) => istioRule.test(rule)) && hasMangleRule(kind, istioRule) ? "ambient" : "sidecar"
}
