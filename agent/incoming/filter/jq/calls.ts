import type { Expression } from "./expression.ts"
import { functions } from "./functions.ts"
import { library } from "./library.ts"
import type { Definitions, Scope } from "./scope.ts"
import type { Json } from "./values.ts"

/** Calls within calls; a program that goes deeper goes on for ever. */
const maxDepth = 1000

/** A definition of the program, one of jq's own, or what is built in. */
export function* call(name: string, args: Expression[], input: Json, scope: Scope): Generator<Json> {
  const key = `${name}/${args.length}`
  let definition = scope.definitions
  while (definition && definition.key !== key) definition = definition.outer
  const own = definition ?? library.get(key)
  if (!own) {
    yield* functions(key, args, input, scope)
    return
  }
  if (scope.depth >= maxDepth) scope.step(Number.POSITIVE_INFINITY)
  const { variables, definitions } =
    own === definition ? definition.scope : { variables: new Map(), definitions: undefined }
  const inner = { ...scope, variables, definitions, depth: scope.depth + 1 }
  for (const value of applied(own, args, 0, input, inner, scope)) {
    // It takes time at every level it passes.
    scope.step()
    yield value
  }
}

/** `inner` is where the body runs, with the parameters before `at` bound; arguments mean what they mean in `scope`. */
function* applied(
  { params, body }: Pick<Definitions, "params" | "body">,
  args: Expression[],
  at: number,
  input: Json,
  inner: Scope,
  scope: Scope,
): Generator<Json> {
  const param = params[at]
  if (param === undefined) {
    yield* scope.run(body, input, inner)
    return
  }
  const isValue = param.startsWith("$")
  const key = `${isValue ? param.slice(1) : param}/0`
  const definitions = { key, params: [], body: args[at]!, scope, outer: inner.definitions }
  if (!isValue) yield* applied({ params, body }, args, at + 1, input, { ...inner, definitions }, scope)
  else {
    for (const value of scope.run(args[at]!, input, scope)) {
      const variables = new Map(inner.variables).set(param, value)
      yield* applied({ params, body }, args, at + 1, input, { ...inner, variables, definitions }, scope)
    }
  }
}

/** `scope` with one more definition, which sees itself. */
export function withDefinition({ name, params, body }: Extract<Expression, { kind: "def" }>, scope: Scope): Scope {
  const key = `${name}/${params.length}`
  const inner: Scope = { ...scope }
  inner.definitions = { key, params, body, scope: inner, outer: scope.definitions }
  return inner
}
