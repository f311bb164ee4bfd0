import type { Config } from "../schema/index.ts"
import type { Findings } from "./findings.ts"

type GenericBranch = Extract<Config["feature"]["db_branches"][number], { type: "generic" }>

const usualParams = ["host", "port", "user", "password", "database"]
const paramVariable = (name: string) => `MIRRORD_PARAM_${name.toUpperCase()}`

/** A database podside knows nothing about: an image, and what its texts may refer to. */
export function checkGenericBranch(branch: GenericBranch, key: string, findings: Findings): void {
  const { errors, warnings } = findings
  if (branch.image === undefined) errors.push(`"${key}.image" is missing`)
  if (branch.version !== undefined) errors.push(`"${key}.version" has no meaning for a generic database`)
  if (!("params" in branch.connection)) {
    errors.push(`"${key}.connection" must name its "params"`)
    return
  }
  const { params } = branch.connection
  checkParams(Object.keys(params), key, findings)
  if (Object.values(params).some((param) => [param].flat().some(isGcpSecret))) {
    errors.push(`"${key}.connection" cannot read secrets of Google's Secret Manager`)
  }
  if (!("host" in params) && !("port" in params)) {
    warnings.push(`"${key}" has neither "host" nor "port": the program will not be led to the branch`)
  }
  checkReferences(branch, Object.keys(params), key, findings)
}

const isGcpSecret = (param: unknown) => typeof param === "object" && param !== null && "gcp_secret_manager" in param

function checkParams(names: readonly string[], key: string, { errors }: Findings): void {
  const seen = new Set<string>()
  for (const name of names) {
    if (!usualParams.includes(name) && !/^[A-Za-z_]\w*$/.test(name)) {
      errors.push(`"${key}.connection.params.${name}": the name must look like an identifier`)
    }
    if (seen.has(name.toLowerCase())) errors.push(`"${key}.connection.params.${name}" is there in another spelling too`)
    seen.add(name.toLowerCase())
  }
}

function checkReferences(branch: GenericBranch, params: readonly string[], key: string, findings: Findings): void {
  const given = new Set([
    ...params.map(paramVariable),
    "MIRRORD_BRANCH_ID",
    ...(branch.name === undefined ? [] : ["MIRRORD_DATABASE_NAME"]),
  ])
  const own = Object.keys(branch.env ?? {})
  for (const name of own) {
    if (given.has(name) || name === "MIRRORD_DATABASE_NAME") {
      findings.errors.push(`"${key}.env.${name}" is set by the operator`)
    }
  }
  const texts = [...(branch.command ?? []), ...(branch.args ?? []), ...Object.values(branch.env ?? {})]
  if (branch.readiness?.command !== undefined) texts.push(...branch.readiness.command)
  const used = new Set(texts.flatMap(references))
  for (const name of used) {
    if (given.has(name) || own.includes(name)) continue
    const hint = name === "MIRRORD_DATABASE_NAME" ? '; it needs "name"' : ""
    findings.errors.push(`"${key}" refers to $(${name}), which nobody sets${hint}`)
  }
  for (const name of params) {
    // What leads the program to the branch need not be told to the branch.
    if (name === "host" || name === "port" || used.has(paramVariable(name))) continue
    findings.warnings.push(`"${key}.connection.params.${name}" is never used as $(${paramVariable(name)})`)
  }
}

/** Names in `$(NAME)`; `$$(` is a dollar sign and a parenthesis. */
function references(text: string): string[] {
  return [...text.matchAll(/\$\$\(|\$\(([^)]*)\)/g)].flatMap(([, name]) => (name === undefined ? [] : [name]))
}
