import { tmpdir } from "node:os"
import { parseOutgoingFilter } from "./address-filter.ts"
import type { Environment } from "./env-overrides.ts"
import { escapePattern } from "./pattern.ts"
import type { Config } from "./schema/index.ts"

/** Changes a configuration brings along by itself; returns warnings. */
export function adjust(config: Config, environment: Environment): string[] {
  const { kind } = config.target.path ?? {}
  if (kind === "job" || kind === "cronjob") config.feature.copy_target.enabled = true
  if (config.container.host_gateway_detection) config.external_proxy.host_ip ??= "0.0.0.0"
  if (config.feature.magic.aws) hideAwsProfile(config, environment)
  return reflectNames(config)
}

/** The developer's AWS profile must not be used with the pod's credentials. */
function hideAwsProfile({ feature }: Config, environment: Environment): void {
  const unset = feature.env.unset ?? []
  feature.env.unset = unset.includes("AWS_PROFILE") ? unset : [...unset, "AWS_PROFILE"]
  const home = environment["HOME"]
  if (!home) return
  const pattern = `^${escapePattern(home)}/\\.aws(/.*)?`
  const mapping = (feature.fs.mapping ??= {})
  mapping[pattern] ??= `${environment["TMPDIR"]?.replace(/\/$/, "") ?? tmpdir()}/.aws$1`
}

/** Names that are connected to on one side are also looked up there. */
function reflectNames({ feature: { network } }: Config): string[] {
  const { outgoing, dns } = network
  if (!dns.enabled || outgoing.filter === undefined) return []
  const side = outgoing.filter.local !== undefined ? "local" : "remote"
  const names = (outgoing.filter[side] ?? []).flatMap(nameOf)
  if (names.length === 0) return []
  const other = side === "local" ? "remote" : "local"
  const opposed = dns.filter?.[other]
  if (opposed !== undefined) {
    const both = names.filter((name) => opposed.includes(name))
    return both.map(
      (name) => `"${name}" is ${side} in feature.network.outgoing.filter but ${other} in feature.network.dns.filter`,
    )
  }
  if (dns.filter === undefined && side === "remote") return []
  const present = dns.filter?.[side] ?? []
  dns.filter = { [side]: [...present, ...names.filter((name) => !present.includes(name))] }
  return []
}

function nameOf(entry: string): string[] {
  const { address, port } = parseOutgoingFilter(entry)
  if (address.kind !== "name") return []
  return [port === 0 ? address.name : `${address.name}:${port}`]
}
