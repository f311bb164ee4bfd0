import type { Fuel } from "../regex/regex.ts"
import { call, withDefinition } from "./calls.ts"
import { checkNames } from "./check-names.ts"
import type { Expression } from "./expression.ts"
import { formats } from "./formats.ts"
import { knownFunction, workOn } from "./functions.ts"
import { library } from "./library.ts"
import { parseJq } from "./parse.ts"
import { bound, boundToEach } from "./patterns.ts"
import type { Scope } from "./scope.ts"
import { add, asText, compare, elements, index, JqError, type Json, kindOf, multiply, truth } from "./values.ts"

/** Steps one run may take, about 50 ms. */
export const maxJqSteps = 200_000
/** What a regular expression does in the time of one step. */
const searchStepsOfStep = 40

/**
 * A jq program as a function: the values it gives for a text, those before an error or the end of its time. Runs that get the same `fuel`
 * share its steps.
 * @throws AppError "bad-jq"
 */
export function compileJq(source: string): (input: string, fuel?: Fuel) => unknown[] {
  const program = parseJq(source)
  checkNames(program, (key) => library.has(key) || knownFunction(key))
  return (input, fuel = { steps: maxJqSteps }) => {
    const step = (count = 1) => {
      fuel.steps -= count
      if (fuel.steps < 0) throw new JqError("the program takes too long")
    }
    const counted = <T>(work: (searching: Fuel) => T): T => {
      const before = fuel.steps * searchStepsOfStep
      const searching = { steps: before }
      const result = work(searching)
      step((before - searching.steps) / searchStepsOfStep)
      return result
    }
    const outputs: Json[] = []
    const scope: Scope = {
      variables: new Map(),
      definitions: undefined,
      depth: 0,
      step,
      search: (regex, text) => counted((searching) => regex.test(text, searching)),
      find: (regex, text, from) => counted((searching) => regex.find(text, from, searching)),
      run,
    }
    try {
      for (const output of run(program, input, scope)) outputs.push(output)
    } catch (thrown) {
      if (!(thrown instanceof JqError || thrown instanceof RangeError)) throw thrown
      // Too deep, or too long a text: it would be so for the next header as well.
      if (thrown instanceof RangeError) fuel.steps = 0
    }
    return outputs
  }
}

function* run(expression: Expression, input: Json, scope: Scope): Generator<Json> {
  scope.step()
  switch (expression.kind) {
    case "identity":
      yield input
      return
    case "literal":
      yield expression.value as Json
      return
    case "text":
      yield* texts(expression.parts, 0, "", input, scope)
      return
    case "variable":
      yield scope.variables.get(expression.name) ?? null
      return
    case "field":
      for (const of of run(expression.of, input, scope)) {
        for (const name of run(expression.name, input, scope))
          yield* guarded(expression.optional, () => [index(of, name)])
      }
      return
    case "slice":
      yield* slices(expression, input, scope)
      return
    case "iterate":
      for (const of of run(expression.of, input, scope)) yield* guarded(expression.optional, () => elements(of))
      return
    case "binary":
      yield* binary(expression.operator, expression.left, expression.right, input, scope)
      return
    case "negate":
      for (const value of run(expression.of, input, scope)) {
        if (typeof value !== "number") throw new JqError("only numbers can be negated")
        yield -value
      }
      return
    case "call":
      yield* call(expression.name, expression.args, input, scope)
      return
    case "format":
      scope.step(workOn(input))
      yield formats[expression.name]!(input)
      return
    case "def":
      yield* run(expression.rest, input, withDefinition(expression, scope))
      return
    case "if":
      yield* condition(expression.branches, expression.otherwise, input, scope)
      return
    case "as":
      for (const value of run(expression.value, input, scope)) {
        for (const inner of bound(expression.pattern, value, input, scope)) yield* run(expression.body, input, inner)
      }
      return
    case "reduce":
      for (const init of run(expression.init, input, scope)) {
        let state: Json = init
        for (const inner of boundToEach(expression, input, scope)) {
          let next: Json = null
          for (const output of run(expression.update, state, inner)) next = output
          state = next
        }
        yield state
      }
      return
    case "foreach":
      for (const init of run(expression.init, input, scope)) {
        let state: Json = init
        for (const inner of boundToEach(expression, input, scope)) {
          for (const output of run(expression.update, state, inner)) {
            state = output
            if (expression.extract) yield* run(expression.extract, output, inner)
            else yield output
          }
        }
      }
      return
    case "try":
      try {
        yield* run(expression.body, input, scope)
      } catch (thrown) {
        if (!(thrown instanceof JqError)) throw thrown
        scope.step()
        if (expression.rescue) yield* run(expression.rescue, thrown.message, scope)
      }
      return
    case "array":
      yield expression.of ? [...run(expression.of, input, scope)] : []
      return
    case "object":
      yield* objects(expression.entries, 0, {}, input, scope)
  }
}

function* texts(
  parts: (string | Expression)[],
  at: number,
  before: string,
  input: Json,
  scope: Scope,
): Generator<Json> {
  const part = parts[at]
  if (part === undefined) yield before
  else if (typeof part === "string") yield* texts(parts, at + 1, before + part, input, scope)
  else {
    for (const value of run(part, input, scope)) {
      const text = asText(value)
      scope.step(workOn(before) + workOn(text))
      yield* texts(parts, at + 1, before + text, input, scope)
    }
  }
}

function* objects(
  entries: [Expression, Expression][],
  at: number,
  before: Record<string, Json>,
  input: Json,
  scope: Scope,
): Generator<Json> {
  const entry = entries[at]
  if (!entry) {
    yield before
    return
  }
  for (const key of run(entry[0], input, scope)) {
    for (const value of run(entry[1], input, scope))
      yield* objects(entries, at + 1, { ...before, [String(key)]: value }, input, scope)
  }
}

function* binary(operator: string, left: Expression, right: Expression, input: Json, scope: Scope): Generator<Json> {
  if (operator === "|") {
    for (const value of run(left, input, scope)) yield* run(right, value, scope)
  } else if (operator === ",") {
    yield* run(left, input, scope)
    yield* run(right, input, scope)
  } else if (operator === "//") {
    const good = [...outputsBeforeError(left, input, scope)].filter(truth)
    if (good.length > 0) yield* good
    else yield* run(right, input, scope)
  } else if (operator === "and" || operator === "or") {
    for (const first of run(left, input, scope)) {
      if (truth(first) === (operator === "or")) yield truth(first)
      else for (const second of run(right, input, scope)) yield truth(second)
    }
  } else {
    for (const second of run(right, input, scope)) {
      for (const first of run(left, input, scope)) {
        scope.step(workOn(first) + workOn(second))
        yield calculate(operator, first, second)
      }
    }
  }
}

function* outputsBeforeError(expression: Expression, input: Json, scope: Scope): Generator<Json> {
  try {
    yield* run(expression, input, scope)
  } catch (thrown) {
    if (!(thrown instanceof JqError)) throw thrown
    scope.step()
  }
}

function calculate(operator: string, left: Json, right: Json): Json {
  const order = compare(left, right)
  switch (operator) {
    case "==":
      return order === 0
    case "!=":
      return order !== 0
    case "<":
      return order < 0
    case "<=":
      return order <= 0
    case ">":
      return order > 0
    case ">=":
      return order >= 0
    case "+":
      return add(left, right)
    default:
      return multiply(operator, left, right)
  }
}

function* condition(
  branches: [Expression, Expression][],
  otherwise: Expression | undefined,
  input: Json,
  scope: Scope,
): Generator<Json> {
  const [branch, ...rest] = branches
  if (!branch) {
    if (otherwise) yield* run(otherwise, input, scope)
    else yield input
    return
  }
  for (const test of run(branch[0], input, scope)) {
    if (truth(test)) yield* run(branch[1], input, scope)
    else yield* condition(rest, otherwise, input, scope)
  }
}

function* slices(
  { of: source, from, to, optional }: Extract<Expression, { kind: "slice" }>,
  input: Json,
  scope: Scope,
): Generator<Json> {
  const one = (bound: Expression | undefined) => (bound ? run(bound, input, scope).next().value : undefined)
  for (const of of run(source, input, scope)) {
    yield* guarded(optional, () => {
      const [start, end] = [one(from) ?? undefined, one(to) ?? undefined] as (number | undefined)[]
      if (typeof of !== "string" && !Array.isArray(of)) throw new JqError(`cannot slice ${kindOf(of)}`)
      return [of.slice(start, end)]
    })
  }
}

function* guarded(optional: boolean, values: () => Json[]): Generator<Json> {
  try {
    yield* values()
  } catch (thrown) {
    if (!optional || !(thrown instanceof JqError)) throw thrown
  }
}
