import { randomBytes } from "node:crypto"
import type { Config } from "../../../../config/load.ts"
import { resources } from "../../../kube/resources.ts"
import type { Target } from "../../../target.ts"
import { type Operator, operatorApi } from "./find.ts"

export interface ConnectRequest {
  path: string
  headers: Record<string, string>
}

/** Upper-case hexadecimal names a session to people, decimal to the operator. */
export function newSessionId(): bigint {
  return randomBytes(8).readBigUInt64BE()
}

export const sessionIdText = (id: bigint): string => id.toString(16).toUpperCase()

/** Where and with which headers a session with a target is asked for. */
export function connectRequest(
  operator: Operator,
  target: Target,
  namespace: string,
  config: Pick<Config, "key" | "profile" | "multi_cluster" | "baggage" | "traceparent" | "feature">,
  session: { id: bigint; certificate: string; branch?: string },
): ConnectRequest {
  const { incoming } = config.feature.network
  const query = new URLSearchParams({ connect: "true", on_concurrent_steal: incoming.on_concurrent_steal })
  if (config.profile) query.set("profile", config.profile)
  if (target.kind === "label")
    query.set(
      "label_target",
      JSON.stringify({ labels: target.labels, ...(target.container && { container: target.container }) }),
    )
  if (session.branch) query.set("branch_name", session.branch)
  if (config.multi_cluster !== undefined) query.set("multi_cluster", String(config.multi_cluster))
  query.set("key", config.key)
  if (incoming.http_filter.header_filter) query.set("header_filter", incoming.http_filter.header_filter)
  const inHeader = operator.supports("ConnectParamsInHeader")
  const proxy = operator.supports("ProxyApi") ? "/proxy" : ""
  const place = `${operatorApi}${proxy}/namespaces/${encodeURIComponent(namespace)}/targets/${encodeURIComponent(targetName(target))}`
  return {
    path: `${place}?${inHeader ? "connect=true" : query}`,
    headers: {
      ...operator.headers,
      "x-client-der": session.certificate,
      "x-session-id": session.id.toString(),
      ...(config.traceparent ? { traceparent: config.traceparent } : {}),
      ...(inHeader ? { "x-mirrord-connect-params": Buffer.from(query.toString()).toString("base64") } : {}),
    },
  }
}

/** `deployment.api.container.app`, `label`, `targetless`. */
export function targetName(target: Target): string {
  if (target.kind === "targetless" || target.kind === "label") return target.kind
  const word = resources[target.kind].kind.toLowerCase()
  return `${word}.${target.name}${target.container ? `.container.${target.container}` : ""}`
}
