import * as v from "valibot"

/** What a key's schema says besides its type; read by whoever walks over the schema. */
export interface KeyNote {
  /** Environment variable that wins over the file. */
  env?: string
  /** Words the variable may hold besides the key's own values, and what they mean. */
  envWords?: Readonly<Record<string, string>>
  /** May change in mirrord; using it is worth a line. */
  unstable?: boolean
  /** Said when the key is used. */
  deprecated?: string
}

export type AnySchema = v.GenericSchema

/** Attaches a note to a key's schema. */
export function noted<const S extends AnySchema>(schema: S, note: KeyNote): S & { note: KeyNote } {
  return { ...schema, note }
}

export const text = v.string()
export const flag = v.boolean()

export const whole = (max: number, min = 0) => v.pipe(v.number(), v.integer(), v.minValue(min), v.maxValue(max))
export const u16 = whole(0xffff)
export const u32 = whole(0xffff_ffff)
/** As far as a number of JavaScript goes. */
export const u64 = whole(Number.MAX_SAFE_INTEGER)

/** A boolean with its default. */
export const flagOr = (fallback: boolean, note: KeyNote = {}) => noted(v.optional(flag, fallback), note)
export const maybeText = (note: KeyNote = {}) => noted(v.optional(text), note)
export const maybeFlag = (note: KeyNote = {}) => noted(v.optional(flag), note)

export const textMap = v.record(v.string(), v.string())
/** Left to Kubernetes to check. */
export const kubernetesObject = v.record(v.string(), v.unknown())

/** A schema for several spellings: the value's own kind picks the one that checks it, so that errors point at the key. */
export function picking<const O extends [AnySchema, ...AnySchema[]]>(
  options: O,
  pick: (value: unknown) => { "~run": AnySchema["~run"] } | undefined,
): v.UnionSchema<O, undefined> {
  const union = v.union(options)
  return {
    ...union,
    "~run"(dataset, config) {
      return (pick(dataset.value) ?? union)["~run"](dataset, config) as never
    },
  }
}

/** A single value or an array; always an array afterwards. From an environment variable: parts separated by ";". */
export function listOrOne<const S extends AnySchema>(item: S) {
  const array = v.array(item)
  const union = v.union([array, item])
  return {
    ...union,
    list: array,
    "~run"(dataset: v.UnknownDataset, config: v.Config<v.BaseIssue<unknown>>) {
      if (!Array.isArray(dataset.value)) dataset.value = [dataset.value]
      return array["~run"](dataset, config)
    },
  } as unknown as v.GenericSchema<v.InferInput<S> | v.InferInput<S>[], v.InferOutput<S>[]>
}
export const texts = listOrOne(text)
export const maybeTexts = (note: KeyNote = {}) => noted(v.optional(texts), note)

/** `true`, `false` or a word instead of an object, and the object each of them stands for. */
export type Expand = (short: unknown) => Record<string, unknown> | undefined

/** An object that may be written shorter; `shorthand` describes the short forms for editors. */
export function short<const S extends AnySchema>(object: S, shorthand: AnySchema, expand: Expand) {
  const union = v.union([shorthand, object])
  return {
    ...union,
    object,
    expand,
    "~run"(dataset: v.UnknownDataset, config: v.Config<v.BaseIssue<unknown>>) {
      const expanded = expand(dataset.value)
      if (expanded !== undefined) dataset.value = expanded
      return (isRecord(dataset.value) ? object : union)["~run"](dataset, config)
    },
  } as unknown as v.GenericSchema<v.InferInput<S> | boolean | string, v.InferOutput<S>>
}

/** A plain object; TOML dates are none. */
export function isRecord(value: unknown): value is Record<string, unknown> {
  if (typeof value !== "object" || value === null) return false
  const prototype = Object.getPrototypeOf(value)
  return prototype === Object.prototype || prototype === null
}

/** Fails unless `check` gives undefined; its text says what is wrong with the value. */
export function checked<T>(check: (value: T) => string | undefined) {
  return v.rawCheck<T>(({ dataset, addIssue }) => {
    if (!dataset.typed) return
    const message = check(dataset.value)
    if (message !== undefined) addIssue({ message })
  })
}
