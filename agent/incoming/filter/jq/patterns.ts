import type { Expression, Pattern } from "./expression.ts"
import type { Scope } from "./scope.ts"
import { index, type Json } from "./values.ts"

/** `scope` with a pattern bound to each of an expression's values in turn. */
export function* boundToEach(
  { value: source, pattern }: { value: Expression; pattern: Pattern },
  input: Json,
  scope: Scope,
): Generator<Scope> {
  for (const value of scope.run(source, input, scope)) yield* bound(pattern, value, input, scope)
}

/** `scope` with the variables of a pattern; keys that are computed may give several. */
export function* bound(pattern: Pattern, value: Json, input: Json, scope: Scope): Generator<Scope> {
  scope.step()
  if (pattern.kind === "name") {
    yield { ...scope, variables: new Map(scope.variables).set(pattern.name, value) }
  } else if (pattern.kind === "items") yield* boundItems(pattern.items, 0, value, input, scope)
  else yield* boundEntries(pattern.entries, 0, value, input, scope)
}

function* boundItems(items: Pattern[], at: number, value: Json, input: Json, scope: Scope): Generator<Scope> {
  const item = items[at]
  if (!item) yield scope
  else {
    for (const inner of bound(item, index(value, at), input, scope))
      yield* boundItems(items, at + 1, value, input, inner)
  }
}

function* boundEntries(
  entries: [Expression, Pattern][],
  at: number,
  value: Json,
  input: Json,
  scope: Scope,
): Generator<Scope> {
  const entry = entries[at]
  if (!entry) {
    yield scope
    return
  }
  for (const key of scope.run(entry[0], input, scope)) {
    for (const inner of bound(entry[1], index(value, key), input, scope))
      yield* boundEntries(entries, at + 1, value, input, inner)
  }
}
