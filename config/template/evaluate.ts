import type { ArgumentExpressions, Expression } from "./expression.ts"
import { filters } from "./filters/index.ts"
import { functions } from "./functions.ts"
import type { Scope } from "./scope.ts"
import { tests } from "./tests.ts"
import { type Arguments, asText, bounded, entry, isObject, same, truthy, type Value } from "./value.ts"

/** What an expression can see beside names. */
export interface Surroundings {
  environment: Readonly<Record<string, string | undefined>>
  callMacro(name: string, args: Arguments): string
}

/** A name that stands for nothing. `default`, `is defined`, `not` and conditions forgive it, everything else does not. */
class UndefinedName extends Error {}

/** The value of an expression. @throws Error with what is wrong */
export function evaluate(expression: Expression, scope: Scope, around: Surroundings): Value {
  const value = (of: Expression): Value => evaluate(of, scope, around)
  switch (expression.kind) {
    case "literal":
      return expression.value
    case "list":
      return expression.items.map(value)
    case "name":
      return named(expression, scope, value)
    case "call": {
      const run = own(functions, expression.name)
      if (run === undefined) throw new Error(`there is no function "${expression.name}"`)
      return bounded(run(evaluated(expression.args, value), around.environment))
    }
    case "macro":
      return around.callMacro(expression.name, evaluated(expression.args, value))
    case "filter":
      return filtered(expression, value)
    case "test": {
      const test = own(tests, expression.name)
      if (test === undefined) throw new Error(`there is no test "${expression.name}"`)
      const args = expression.args.map(value)
      return (
        test(
          unlessUndefined(() => value(expression.of)),
          args,
        ) !== expression.negated
      )
    }
    case "in":
      return contains(value(expression.holder), value(expression.item)) !== expression.negated
    case "not":
      return !isTrue(expression.of, scope, around)
    case "binary":
      if (expression.operator === "or") {
        return isTrue(expression.left, scope, around) || isTrue(expression.right, scope, around)
      }
      if (expression.operator === "and") {
        return isTrue(expression.left, scope, around) && isTrue(expression.right, scope, around)
      }
      return binary(expression.operator, value(expression.left), value(expression.right))
  }
}

/** As a condition sees it: an undefined name is false here, and an error elsewhere. */
export function isTrue(expression: Expression, scope: Scope, around: Surroundings): boolean {
  const run = () => evaluate(expression, scope, around)
  const forgiving = expression.kind === "name" || expression.kind === "filter"
  const found = forgiving ? unlessUndefined(run) : run()
  return found !== undefined && truthy(found)
}

function unlessUndefined(run: () => Value): Value | undefined {
  try {
    return run()
  } catch (thrown) {
    if (thrown instanceof UndefinedName) return undefined
    throw thrown
  }
}

/** What the code above has under that name; names like "constructor" are the template's. */
function own<T>(table: Readonly<Record<string, T>>, name: string): T | undefined {
  return Object.hasOwn(table, name) ? table[name] : undefined
}

function evaluated(args: ArgumentExpressions, value: (of: Expression) => Value): Arguments {
  return Object.fromEntries(Object.entries(args).map(([name, of]) => [name, value(of)]))
}

function named(
  { name, keys }: Extract<Expression, { kind: "name" }>,
  scope: Scope,
  value: (of: Expression) => Value,
): Value {
  let found = scope.get(name)
  let path = name
  for (const part of keys) {
    const key = asText(value(part))
    path += `.${key}`
    found = entry(found, key)
  }
  if (found !== undefined) return found
  throw new UndefinedName(`"${path}" is not defined here; give it a value with "| default(value=…)"`)
}

function filtered(
  { of, name, args }: Extract<Expression, { kind: "filter" }>,
  value: (of: Expression) => Value,
): Value {
  if (name === "default") {
    const fallback = args["value"]
    if (fallback === undefined) throw new Error('"default" needs the argument "value"')
    return unlessUndefined(() => value(of)) ?? value(fallback)
  }
  const filter = own(filters, name)
  if (filter === undefined) throw new Error(`there is no filter "${name}"`)
  const input = value(of)
  const given = evaluated(args, value)
  try {
    return bounded(filter(input, given))
  } catch (thrown) {
    throw new Error(`filter "${name}": ${(thrown as Error).message}`, { cause: thrown })
  }
}

function contains(holder: Value, item: Value): boolean {
  if (Array.isArray(holder)) return holder.some((one) => same(one, item))
  if (isObject(holder)) return Object.hasOwn(holder, asText(item))
  if (typeof holder === "string" && typeof item === "string") return holder.includes(item)
  throw new Error('"in" needs a list, an object, or two texts')
}

function binary(operator: string, left: Value, right: Value): Value {
  switch (operator) {
    case "~":
      return bounded(joinable(left) + joinable(right))
    // A number is never compared with anything else: neither equal nor unequal.
    case "==":
      return same(left, right)
    case "!=":
      return (typeof left === "number") === (typeof right === "number") && !same(left, right)
  }
  if (typeof left !== "number" || typeof right !== "number") throw new Error(`"${operator}" needs two numbers`)
  switch (operator) {
    case "<":
      return left < right
    case ">":
      return left > right
    case "<=":
      return left <= right
    case ">=":
      return left >= right
  }
  const result = calculate(operator, left, right)
  return Number.isFinite(result) ? result : "NaN"
}

function calculate(operator: string, left: number, right: number): number {
  if (operator === "+") return left + right
  if (operator === "-") return left - right
  if (operator === "*") return left * right
  return operator === "/" ? left / right : left % right
}

function joinable(value: Value): string {
  if (typeof value === "string" || typeof value === "number") return String(value)
  throw new Error('"~" joins texts and numbers only')
}
