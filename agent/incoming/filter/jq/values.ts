export type Json = null | boolean | number | string | Json[] | { [name: string]: Json }

/** An error inside a program, which it may catch. */
export class JqError extends Error {}

export const truth = (value: Json): boolean => value !== null && value !== false

export function kindOf(value: Json): "null" | "boolean" | "number" | "string" | "array" | "object" {
  if (value === null) return "null"
  if (Array.isArray(value)) return "array"
  return typeof value as "boolean" | "number" | "string" | "object"
}

const order = ["null", "boolean", "number", "string", "array", "object"]

/** jq's total order: by kind first. */
export function compare(left: Json, right: Json): number {
  const [a, b] = [kindOf(left), kindOf(right)]
  if (a !== b) return order.indexOf(a) - order.indexOf(b)
  if (Array.isArray(left) && Array.isArray(right)) {
    for (let at = 0; at < Math.min(left.length, right.length); at++) {
      const difference = compare(left[at]!, right[at]!)
      if (difference !== 0) return difference
    }
    return left.length - right.length
  }
  if (a === "object") {
    const entries = (value: Json) => Object.entries(value as object).sort(([x], [y]) => (x < y ? -1 : 1)) as Json
    return compare(entries(left), entries(right))
  }
  return left === right ? 0 : (left as string) < (right as string) ? -1 : 1
}

export function add(left: Json, right: Json): Json {
  if (left === null) return right
  if (right === null) return left
  if (typeof left === "number" && typeof right === "number") return left + right
  if (typeof left === "string" && typeof right === "string") return left + right
  if (Array.isArray(left) && Array.isArray(right)) return [...left, ...right]
  if (kindOf(left) === "object" && kindOf(right) === "object")
    return { ...(left as object), ...(right as object) } as Json
  throw new JqError(`cannot add ${kindOf(left)} and ${kindOf(right)}`)
}

/** `-`, `*`, `/`, `%`. */
export function multiply(operator: string, left: Json, right: Json): Json {
  if (typeof left === "number" && typeof right === "number") {
    if (operator === "-") return left - right
    if (operator === "*") return left * right
    if (right === 0) throw new JqError("division by zero")
    return operator === "/" ? left / right : Math.trunc(left) % Math.trunc(right)
  }
  if (operator === "/" && typeof left === "string" && typeof right === "string") return left.split(right)
  if (operator === "-" && Array.isArray(left) && Array.isArray(right)) {
    return left.filter((item) => !right.some((other) => compare(item, other) === 0))
  }
  throw new JqError(`cannot calculate ${kindOf(left)} ${operator} ${kindOf(right)}`)
}

/** `.[name]` */
export function index(of: Json, name: Json): Json {
  if (of === null) return null
  if (Array.isArray(of) && typeof name === "number") return of.at(Math.floor(name)) ?? null
  if (kindOf(of) === "object" && typeof name === "string") {
    return Object.hasOwn(of as object, name) ? (of as Record<string, Json>)[name]! : null
  }
  throw new JqError(`cannot index ${kindOf(of)} with ${kindOf(name)}`)
}

/** `.[]` */
export function elements(of: Json): Json[] {
  if (Array.isArray(of)) return of
  if (kindOf(of) === "object") return Object.values(of as object)
  throw new JqError(`cannot iterate over ${kindOf(of)}`)
}

/** As `tostring` has it. */
export const asText = (value: Json): string => (typeof value === "string" ? value : JSON.stringify(value))
