import * as v from "valibot"
import { checked, isRecord, maybeText, picking, text, textMap, u16, u64, whole } from "./values.ts"

/*
 * Databases branched for a session. Everything is described although only an operator acts on it: a file with a
 * misspelled key must not load.
 */

const optionalList = v.optional(v.array(text))
const tables = v.optional(v.record(v.string(), v.strictObject({ filter: v.optional(text) })))

// ---- where a value comes from

const envSource = v.strictObject({
  type: v.picklist(["env", "env_from"]),
  variable: text,
  container: maybeText(),
  value: maybeText(),
})
const secretSource = v.strictObject({ type: v.literal("secret"), name: text, key: text, env_var_name: maybeText() })
const gcpSource = v.strictObject({ type: v.literal("gcp_secret_manager"), secret_ref: text, env_var_name: maybeText() })
const source = picking([envSource, secretSource, gcpSource], (value) => {
  const type = isRecord(value) ? value["type"] : undefined
  return type === "secret" ? secretSource : type === "gcp_secret_manager" ? gcpSource : envSource
})

const namedParam = v.pipe(
  v.strictObject({ env_var_name: v.optional(text), variable: v.optional(text), value: maybeText() }),
  checked(({ env_var_name, variable }) =>
    (env_var_name === undefined) === (variable === undefined) ? 'needs "env_var_name" or "variable"' : undefined,
  ),
)
const secretParam = v.strictObject({ secret: text, key: text, env_var_name: maybeText() })
const patternParam = v.strictObject({ env_var_name: text, value_pattern: text })
const gcpParam = v.strictObject({ gcp_secret_manager: text, env_var_name: maybeText() })
const param = picking([text, namedParam, secretParam, patternParam, gcpParam], (value) => {
  if (!isRecord(value)) return text
  if ("secret" in value) return secretParam
  if ("gcp_secret_manager" in value) return gcpParam
  return "value_pattern" in value ? patternParam : namedParam
})
const params = v.array(param)
const oneOrMoreParams = picking([params, param], (value) => (Array.isArray(value) ? params : param))

const variableKind = v.optional(v.picklist(["env", "env_from"]))
const names = v.array(text)
const oneOrMoreNames = picking([names, text], (value) => (Array.isArray(value) ? names : text))
const urlConnection = v.strictObject({ url: source })
const flatConnection = v.strictObject({ type: variableKind, url: oneOrMoreNames })
const paramsConnection = v.strictObject({ type: variableKind, params: v.record(v.string(), oneOrMoreParams) })
const connection = picking([urlConnection, flatConnection, paramsConnection], (value) => {
  if (!isRecord(value) || "params" in value) return paramsConnection
  return isRecord(value["url"]) ? urlConnection : flatConnection
})

// ---- parts of several kinds

const common = {
  id: maybeText(),
  name: maybeText(),
  ttl_secs: v.optional(u64),
  ttl_mins: v.optional(u64),
  creation_timeout_secs: v.optional(u64, 60),
  version: maybeText(),
  image: maybeText(),
  profile: maybeText(),
  connection,
}

const copyOf = <const M extends readonly string[], E extends v.ObjectEntries>(modes: M, entries: E) =>
  v.optional(v.strictObject({ mode: v.optional(v.picklist(modes), "empty" as M[number]), ...entries }))
const whole3 = ["empty", "schema", "all"] as const
const copyWithDump = copyOf(whole3, { tables, dump_args: optionalList })
const copyTables = copyOf(whole3, { tables })
const copyCollections = copyOf(["empty", "all"], { collections: tables })

const rds = v.strictObject({
  type: v.literal("aws_rds"),
  region: v.optional(source),
  access_key_id: v.optional(source),
  secret_access_key: v.optional(source),
  session_token: v.optional(source),
})
const cloudSql = v.strictObject({
  type: v.literal("gcp_cloud_sql"),
  credentials_json: v.optional(source),
  credentials_path: v.optional(source),
  project: v.optional(source),
})
const iam_auth = v.optional(
  picking([rds, cloudSql], (value) => (isRecord(value) && value["type"] === "gcp_cloud_sql" ? cloudSql : rds)),
)

const flyway = v.pipe(
  v.strictObject({ flavor: v.literal("flyway"), path: maybeText(), locations: optionalList, image: maybeText() }),
  checked(({ path, locations, image }) => {
    if ((path === undefined) === (locations === undefined)) return 'needs exactly one of "path" and "locations"'
    return locations !== undefined && image === undefined ? '"locations" needs "image"' : undefined
  }),
)
const migrationContainer = v.strictObject({
  flavor: v.literal("container"),
  image: text,
  command: optionalList,
  args: optionalList,
  env: v.optional(textMap),
})
const migrations = v.optional(
  picking([flyway, migrationContainer], (value) =>
    isRecord(value) && value["flavor"] === "container" ? migrationContainer : flyway,
  ),
)

const readiness = v.optional(
  v.pipe(
    v.strictObject({
      type: v.optional(v.picklist(["tcp", "exec", "http_get"]), "tcp"),
      command: optionalList,
      path: maybeText(),
      port: v.optional(u16),
    }),
    checked(({ type, command, path }) => {
      if (type === "exec" && command === undefined) return 'needs "command"'
      return type === "http_get" && path === undefined ? 'needs "path"' : undefined
    }),
  ),
)

// ---- Redis on the developer's machine

const localValue = picking([text, envSource], (value) => (isRecord(value) ? envSource : text))
const localRedis = v.strictObject({
  type: v.literal("redis"),
  location: v.literal("local"),
  id: maybeText(),
  connection: v.strictObject({
    url: v.optional(localValue),
    host: v.optional(localValue),
    password: v.optional(localValue),
    username: v.optional(localValue),
    port: v.optional(u16, 6379),
    database: v.optional(whole(0xffff), 0),
    tls: v.optional(v.boolean()),
  }),
  local: v.optional(
    v.strictObject({
      port: v.optional(u16, 6379),
      version: v.optional(text, "7-alpine"),
      runtime: v.optional(v.picklist(["container", "redis_server", "auto"]), "container"),
      container_runtime: v.optional(v.picklist(["docker", "podman", "nerdctl"]), "docker"),
      container_command: maybeText(),
      server_command: maybeText(),
      options: v.optional(v.strictObject({ args: v.optional(v.array(text), []) }), {}),
    }),
    {},
  ),
})

// ---- the kinds

const kind = <const N extends string, E extends v.ObjectEntries>(name: N, entries: E) =>
  v.pipe(
    v.strictObject({ type: v.literal(name), ...common, ...entries }),
    checked((branch) => {
      const { ttl_secs, ttl_mins, version, image } = branch as Record<string, unknown>
      if (ttl_secs !== undefined && ttl_mins !== undefined) return '"ttl_secs" and "ttl_mins" cannot stand together'
      return version !== undefined && image !== undefined ? '"version" and "image" cannot stand together' : undefined
    }),
  )

const kinds = [
  kind("mysql", { copy: copyWithDump, iam_auth, migrations }),
  kind("mariadb", { copy: copyWithDump, iam_auth, migrations }),
  kind("pg", {
    copy: copyWithDump,
    iam_auth,
    migrations,
    connection_settings: v.optional(textMap),
    query_params: v.optional(textMap),
  }),
  kind("mssql", { copy: copyTables, migrations }),
  kind("cockroachdb", { copy: copyTables, migrations }),
  kind("clickhouse", { copy: copyTables }),
  kind("mongodb", { copy: copyCollections }),
  kind("dynamodb", { copy: copyCollections, iam_auth }),
  kind("spanner", { copy: copyTables, emulator_host: v.optional(text, "SPANNER_EMULATOR_HOST") }),
  kind("redis", {
    location: v.optional(v.literal("remote"), "remote"),
    copy: copyOf(["empty", "all"], { patterns: optionalList }),
  }),
  kind("generic", {
    port: u16,
    command: optionalList,
    args: optionalList,
    env: v.optional(textMap),
    readiness,
  }),
] as const

const byName = new Map(kinds.map((schema) => [schema.entries.type.literal as string, schema]))
const typeOnly = v.looseObject({ type: v.picklist([...byName.keys()]) })

const branch = picking([...kinds, localRedis], (value) => {
  if (!isRecord(value)) return typeOnly
  if (value["type"] === "redis" && value["location"] === "local") return localRedis
  return byName.get(value["type"] as string) ?? typeOnly
})

export const dbBranches = v.array(branch)
