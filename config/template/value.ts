/** What an expression can be. */
export type Value = string | number | boolean | Value[] | { [key: string]: Value }
export type Arguments = Readonly<Record<string, Value>>

/** Texts and lists a template makes may be so long: characters, items. */
const maxTextLength = 4 * 1024 * 1024
const maxItems = 100_000

export function bounded(value: Value): Value {
  if (typeof value === "string" && value.length > maxTextLength) {
    throw new Error(`a text becomes longer than ${maxTextLength} characters`)
  }
  if (Array.isArray(value) && value.length > maxItems) throw new Error(`a list gets more than ${maxItems} items`)
  return value
}

/** As it is printed. */
export function asText(value: Value): string {
  if (Array.isArray(value)) return `[${value.map(asText).join(", ")}]`
  return typeof value === "object" ? "[object]" : String(value)
}

export function truthy(value: Value): boolean {
  if (Array.isArray(value)) return value.length > 0
  return typeof value === "object" ? Object.keys(value).length > 0 : Boolean(value)
}

export function isObject(value: Value | undefined): value is { [key: string]: Value } {
  return typeof value === "object" && !Array.isArray(value)
}

export const same = (left: Value, right: Value): boolean => Bun.deepEquals(left, right, true)

/** The item of a list or the entry of an object. */
export function entry(value: Value | undefined, key: string): Value | undefined {
  if (Array.isArray(value)) return /^\d+$/.test(key) ? value[Number(key)] : undefined
  return isObject(value) && Object.hasOwn(value, key) ? value[key] : undefined
}

/** What stands at "a.0.b". */
export const at = (value: Value, path: string): Value | undefined =>
  path.split(".").reduce<Value | undefined>(entry, value)

// ---- what functions and filters ask of their values and arguments

export function text(value: Value): string {
  if (typeof value !== "string") throw new Error(`a text is expected, not ${described(value)}`)
  return value
}

export function number(value: Value): number {
  if (typeof value !== "number") throw new Error(`a number is expected, not ${described(value)}`)
  return value
}

export function integer(value: Value): number {
  if (!Number.isSafeInteger(value)) throw new Error(`a whole number is expected, not ${described(value)}`)
  return value as number
}

export function truth(value: Value): boolean {
  if (typeof value !== "boolean") throw new Error(`true or false is expected, not ${described(value)}`)
  return value
}

export function list(value: Value): Value[] {
  if (!Array.isArray(value)) throw new Error(`a list is expected, not ${described(value)}`)
  return value
}

/** The argument of that name, as `read` wants it. Without a fallback it has to be there. */
export function argument<T>(args: Arguments, name: string, read: (value: Value) => T, fallback?: T): T {
  const value = Object.hasOwn(args, name) ? args[name] : undefined
  if (value !== undefined) return read(value)
  if (fallback === undefined) throw new Error(`the argument "${name}" is missing`)
  return fallback
}

export const anything = (value: Value): Value => value

function described(value: Value): string {
  if (Array.isArray(value)) return "a list"
  return isObject(value) ? "an object" : JSON.stringify(value)
}
