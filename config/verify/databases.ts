import type { Config } from "../schema/index.ts"
import type { Findings } from "./findings.ts"
import { checkGenericBranch } from "./generic-branch.ts"

type Branch = Config["feature"]["db_branches"][number]

/** Longest time a branch lives after its last use, in seconds: 15 min. */
const maxLifeSeconds = 900

/** Rules of `feature.db_branches` that are about several keys. */
export function checkDatabases({ feature }: Config, findings: Findings): void {
  const overridden = new Set(Object.keys(feature.env.override ?? {}))
  feature.db_branches.forEach((branch, index) => {
    const key = `feature.db_branches.${index}`
    for (const variable of variablesOf(branch)) {
      if (overridden.has(variable)) {
        findings.errors.push(`"${key}" sets ${variable}, which "feature.env.override" sets too`)
      }
    }
    if ("local" in branch) return
    const seconds = branch.ttl_secs ?? (branch.ttl_mins ?? 0) * 60
    if (seconds > maxLifeSeconds) findings.warnings.push(`"${key}" asks for more than 15 minutes, the longest there is`)
    if (branch.type === "redis" && branch.name !== undefined && !/^\d+$/.test(branch.name)) {
      findings.errors.push(`"${key}.name" must be a number for Redis`)
    }
    if ("migrations" in branch && branch.migrations !== undefined && branch.name === undefined) {
      findings.errors.push(`"${key}.migrations" needs "name"`)
    }
    if (branch.type === "generic") checkGenericBranch(branch, key, findings)
  })
}

/** Names of the program's variables a branch gives another value. */
function variablesOf({ connection }: Branch): string[] {
  const parts = "params" in connection ? Object.values(connection.params).flat() : Object.values(connection).flat()
  return parts.flatMap((part) => {
    // Texts of a connection are names of variables, but for what is no place a value comes from.
    if (typeof part === "string") return part === "env" || part === "env_from" ? [] : [part]
    if (typeof part !== "object") return []
    const { env_var_name, variable } = part as { env_var_name?: string; variable?: string }
    return [env_var_name, variable].filter((name) => name !== undefined)
  })
}
