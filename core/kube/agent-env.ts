import type { AgentOptions } from "./agent-options.ts"
import type { Mesh } from "./containers.ts"

export interface EnvVar {
  name: string
  value: string
}

/** The agent's variables in the order the original client sends them. */
export function agentEnv(options: AgentOptions, podIps: readonly string[]): EnvVar[] {
  const rows: [name: string, value: string | number | boolean | undefined][] = [
    ["RUST_LOG", options.logLevel],
    ["MIRRORD_AGENT_STEALER_FLUSH_CONNECTIONS", options.flushConnections],
    ["MIRRORD_AGENT_JSON_LOG", options.jsonLog],
    // Only agents of older versions look at it.
    ["MIRRORD_AGENT_PASSTHROUGH_MIRRORING", true],
    ["MIRRORD_MAX_BODY_BUFFER_SIZE", options.maxBodyBufferBytes],
    ["MIRRORD_MAX_BODY_BUFFER_TIMEOUT", options.maxBodyBufferTimeoutMs],
    ["MIRRORD_AGENT_HTTP_DETECTION_TIMEOUT", options.httpDetectionTimeoutSeconds],
    ["MIRRORD_JAQ_TIME_LIMIT", options.jqTimeLimit],
    ["MIRRORD_AGENT_NFTABLES", options.nftables],
    ["MIRRORD_AGENT_DNS_ATTEMPTS", options.dnsAttempts],
    ["MIRRORD_AGENT_DNS_TIMEOUT", options.dnsTimeoutSeconds],
    ["MIRRORD_AGENT_POD_IPS", podIps.length > 0 ? podIps.join(",") : undefined],
    ["MIRRORD_AGENT_METRICS", options.metrics],
    ["AGENT_OPERATOR_CERT_ENV", options.operatorCertificate],
    ["MIRRORD_AGENT_STEAL_TLS_CONFIG", options.stealTlsConfig],
    ["MIRRORD_AGENT_IDLE_TTL", options.idleTtlSeconds || undefined],
    ["MIRRORD_AGENT_INJECT_HEADERS", options.injectHeaders || undefined],
    ["MIRRORD_AGENT_CLEAN_IPTABLES_ON_START", options.cleanIptablesOnStart],
    ["MIRRORD_AGENT_EXTERNAL_IP_FIX", options.externalIpFix],
    ["MIRRORD_AGENT_OVERRIDE_CACHE_CONTROL", options.overrideCacheControl],
  ]
  const values = new Map([
    ...rows.filter(([, value]) => value !== undefined),
    ...Object.entries(options.extraEnv ?? {}),
  ])
  return [...values].map(([name, value]) => ({ name, value: String(value) }))
}

export function meshEnv(mesh: Mesh | undefined): EnvVar[] {
  if (mesh === undefined) return []
  const inMesh = { name: "MIRRORD_AGENT_IN_SERVICE_MESH", value: "true" }
  return mesh === "istio-cni" ? [inMesh, { name: "MIRRORD_AGENT_ISTIO_CNI", value: "true" }] : [inMesh]
}
