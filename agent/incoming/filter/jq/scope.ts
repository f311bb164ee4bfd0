import type { Match, Regex } from "../regex/regex.ts"
import type { Expression } from "./expression.ts"
import type { Json } from "./values.ts"

/** What a name with so many arguments ("map/1") stands for: the innermost definition counts. */
export interface Definitions {
  key: string
  params: readonly string[]
  body: Expression
  /** Where the body was written. */
  scope: Scope
  outer: Definitions | undefined
}

/** What an expression may see besides its input. */
export interface Scope {
  variables: ReadonlyMap<string, Json>
  definitions: Definitions | undefined
  /** Calls of definitions that are under way. */
  depth: number
  /** Counts work; throws when it is too much. */
  step(count?: number): void
  /** `regex.test`, whose work counts, too. */
  search(regex: Regex, text: string): boolean
  /** `regex.find`, as well. */
  find(regex: Regex, text: string, from: number): Match | undefined
  run(expression: Expression, input: Json, scope: Scope): Generator<Json>
}
