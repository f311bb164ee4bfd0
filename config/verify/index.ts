import { operatorOnlyKinds } from "../../core/target.ts"
import { patternProblem } from "../pattern.ts"
import type { Config } from "../schema/index.ts"
import { checkDatabases } from "./databases.ts"
import { checkFilters } from "./filters.ts"
import type { Findings } from "./findings.ts"

/** Read-ahead above this many bytes is worth a warning: 1 MiB. */
const largeReadAheadBytes = 1024 * 1024

/** Checks of keys against each other. @param absentIsTargetless what a configuration without a target means here */
export function verify(config: Config, absentIsTargetless: boolean): Findings {
  const findings: Findings = { errors: [], warnings: [] }
  const kind = config.target.path?.kind ?? (absentIsTargetless ? "targetless" : undefined)
  checkTarget(config, kind, findings)
  checkNetwork(config, findings)
  checkEnvAndFiles(config, findings)
  checkFilters(config, findings)
  checkDatabases(config, findings)
  if (config.agent.namespace !== undefined && (config.agent.ephemeral || kind === "targetless")) {
    findings.warnings.push('"agent.namespace" has no effect with an ephemeral agent or without a target')
  }
  return findings
}

function checkTarget(config: Config, kind: string | undefined, { errors, warnings }: Findings): void {
  const { feature, operator, agent, multi_cluster } = config
  const copied = feature.copy_target.enabled
  if (kind === "targetless") {
    if (feature.network.incoming.mode === "steal") {
      errors.push('"feature.network.incoming.mode" cannot be "steal" without a target')
    }
    if (agent.ephemeral) errors.push('"agent.ephemeral" needs a target')
  }
  if (kind !== undefined && operatorOnlyKinds.has(kind) && operator === false) {
    errors.push(`A ${kind} target needs the operator, but "operator" is false`)
  } else if (copied && operator === false) {
    errors.push('"feature.copy_target" needs the operator, but "operator" is false')
  }
  if (copied && (kind === undefined || kind === "targetless" || kind === "service")) {
    errors.push(`"feature.copy_target" is not possible ${kind === "service" ? "with a service" : "without a target"}`)
  }
  if (copied && feature.network.incoming.mode !== "steal" && kind !== "job" && kind !== "cronjob") {
    warnings.push('"feature.copy_target" without stealing leaves the traffic with the original pods')
  }
  if (kind !== "label") return
  const clashes = {
    "feature.copy_target": copied,
    multi_cluster: multi_cluster === true,
    "feature.split_queues": feature.split_queues.length > 0,
    "feature.db_branches": feature.db_branches.length > 0,
  }
  for (const [key, used] of Object.entries(clashes)) {
    if (used) errors.push(`"${key}" is not possible with a label target`)
  }
}

function checkNetwork({ feature: { network } }: Config, { errors, warnings }: Findings): void {
  const { incoming, outgoing, dns } = network
  for (const [local, remote] of incoming.port_mapping) {
    if (local === remote) warnings.push(`"feature.network.incoming.port_mapping" maps port ${local} to itself`)
  }
  if (outgoing.filter?.remote !== undefined && !dns.enabled) {
    warnings.push(
      '"feature.network.outgoing.filter" sends names to the pod that "feature.network.dns" resolves locally',
    )
  }
  if (dns.filter !== undefined && !dns.enabled) {
    warnings.push('"feature.network.dns.filter" has no effect while "feature.network.dns.enabled" is false')
  }
  if (dns.enabled && dns.filter?.local?.length === 0) {
    warnings.push('"feature.network.dns.filter.local" is empty: all names are resolved remotely')
  }
  if (dns.enabled && dns.filter?.remote?.length === 0) {
    warnings.push('"feature.network.dns.filter.remote" is empty: all names are resolved locally')
  }
  patterns("feature.network.outgoing.unix_streams", outgoing.unix_streams, errors)
}

function checkEnvAndFiles({ feature: { env, fs } }: Config, { errors, warnings }: Findings): void {
  patterns("feature.env.mapping", Object.keys(env.mapping ?? {}), errors)
  patterns("feature.fs.mapping", Object.keys(fs.mapping ?? {}), errors)
  for (const key of ["read_write", "read_only", "local", "not_found"] as const) {
    patterns(`feature.fs.${key}`, fs[key], errors)
  }
  if (fs.readonly_file_buffer > largeReadAheadBytes) {
    warnings.push('"feature.fs.readonly_file_buffer" above 1 MiB makes every small read slow')
  }
}

function patterns(key: string, sources: readonly (string | undefined)[] | undefined, errors: string[]): void {
  for (const source of sources ?? []) {
    const problem = source === undefined ? undefined : patternProblem(source)
    if (problem !== undefined) errors.push(`"${key}": the pattern ${JSON.stringify(source)} cannot be read: ${problem}`)
  }
}
