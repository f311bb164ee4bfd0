import { AppError } from "../core/errors.ts"
import { configSchema } from "./schema/index.ts"
import type { AnySchema, Expand, KeyNote } from "./schema/values.ts"
import { isRecord } from "./schema/values.ts"

export type Environment = Readonly<Record<string, string | undefined>>
type Raw = Record<string, unknown>

/** Parts of a valibot schema that are of interest to a walk over the keys. */
interface SchemaParts {
  type: string
  note?: KeyNote
  wrapped?: AnySchema
  entries?: Record<string, AnySchema>
  object?: AnySchema
  expand?: Expand
  list?: { item: AnySchema }
}
const parts = (schema: AnySchema) => schema as unknown as SchemaParts

/** The schema below `v.optional`. */
export function unwrapped(schema: AnySchema): SchemaParts {
  const { wrapped } = parts(schema)
  return wrapped === undefined ? parts(schema) : unwrapped(wrapped)
}

/** The keys of an object's schema, also behind its short forms; undefined for everything else. */
export function keysOf(schema: AnySchema): Record<string, AnySchema> | undefined {
  const { object, entries } = unwrapped(schema)
  return object === undefined ? entries : keysOf(object)
}

export function noteOf(schema: AnySchema): KeyNote {
  return parts(schema).note ?? {}
}

/** Puts the values of set variables over those of the file. @throws AppError "config-bad-variable" */
export function applyEnvironment(raw: Raw, environment: Environment): void {
  const fsWasObject = isRecord((raw["feature"] as Raw | undefined)?.["fs"])
  overlay(configSchema, raw, environment)
  applyFileVariables(raw, environment, fsWasObject)
  applyImageVariables(raw, environment)
}

/** Whether any variable is set that would go over a file. */
export const hasOverrides = (environment: Environment): boolean => anySet(configSchema, environment)

function overlay(schema: AnySchema, raw: Raw, environment: Environment): void {
  for (const [key, child] of Object.entries(keysOf(schema) ?? {})) {
    const { env, envWords } = noteOf(child)
    const set = env === undefined ? undefined : environment[env]
    if (set !== undefined) raw[key] = envWords?.[set] ?? variableValue(env!, set, unwrapped(child))
    else if (keysOf(child) !== undefined && anySet(child, environment)) {
      raw[key] = expanded(raw[key], unwrapped(child).expand)
      if (isRecord(raw[key])) overlay(child, raw[key], environment)
    }
  }
}

function anySet(schema: AnySchema, environment: Environment): boolean {
  return Object.values(keysOf(schema) ?? {}).some((child) => {
    const { env } = noteOf(child)
    return (env !== undefined && environment[env] !== undefined) || anySet(child, environment)
  })
}

function expanded(value: unknown, expand: Expand | undefined): unknown {
  return value === undefined ? {} : (expand?.(value) ?? value)
}

function variableValue(name: string, text: string, schema: SchemaParts): unknown {
  if (schema.list !== undefined) {
    const item = unwrapped(schema.list.item)
    return text.split(";").map((part) => variableValue(name, part, item))
  }
  if (schema.type === "boolean") {
    if (text === "true" || text === "false") return text === "true"
    throw badVariable(name, "true or false")
  }
  if (schema.type === "number") {
    if (/^\d+$/.test(text)) return Number(text)
    throw badVariable(name, "a whole number")
  }
  // Lifetimes are a number or a word.
  return schema.type === "union" && /^\d+$/.test(text) ? Number(text) : text
}

/** The older way to choose the file mode, and the one list that only counts beside a mode without an object. */
function applyFileVariables(raw: Raw, environment: Environment, fsWasObject: boolean): void {
  const readOnly = environment["MIRRORD_FILE_READ_ONLY_PATTERN"]
  const mode = environment["MIRRORD_FILE_MODE"] === undefined ? modeOf(environment) : undefined
  if (mode === undefined && (readOnly === undefined || fsWasObject)) return
  const feature = (raw["feature"] ??= {})
  if (!isRecord(feature)) return
  const fs = (feature["fs"] = expanded(feature["fs"], keysOfFeature("fs").expand))
  if (!isRecord(fs)) return
  if (mode !== undefined) fs["mode"] = mode
  if (readOnly !== undefined && !fsWasObject) fs["read_only"] = readOnly.split(";")
}

function modeOf(environment: Environment): string | undefined {
  const all = booleanVariable(environment, "MIRRORD_FILE_OPS")
  const readOnly = booleanVariable(environment, "MIRRORD_FILE_RO_OPS")
  if (all === true) return "write"
  if (readOnly === true) return "read"
  return all === undefined && readOnly === undefined ? undefined : "local"
}

function booleanVariable(environment: Environment, name: string): boolean | undefined {
  const text = environment[name]
  return text === undefined ? undefined : (variableValue(name, text, { type: "boolean" }) as boolean)
}

/** Registry and tag from variables only count when nothing names an image. */
function applyImageVariables(raw: Raw, environment: Environment): void {
  const registry = environment["MIRRORD_AGENT_IMAGE_REGISTRY"]
  const tag = environment["MIRRORD_AGENT_IMAGE_TAG"]
  if (registry === undefined && tag === undefined) return
  const agent = (raw["agent"] ??= {})
  if (!isRecord(agent) || agent["image"] !== undefined) return
  agent["image"] = { ...(registry === undefined ? {} : { registry }), ...(tag === undefined ? {} : { tag }) }
}

function keysOfFeature(key: string): SchemaParts {
  return unwrapped(keysOf(keysOf(configSchema)!["feature"]!)![key]!)
}

function badVariable(name: string, expected: string): AppError {
  return new AppError("config-bad-variable", `The environment variable ${name} must be ${expected}`, {
    next: "Correct or unset it.",
  })
}
