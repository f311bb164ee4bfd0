import type { Regex } from "../regex/regex.ts"
import type { Expression } from "./parse.ts"
import type { Json } from "./values.ts"

/** What an expression may see besides its input. */
export interface Scope {
  variables: ReadonlyMap<string, Json>
  /** Counts work; throws when it is too much. */
  step(count?: number): void
  /** `regex.test`, whose work counts, too. */
  search(regex: Regex, text: string): boolean
  run(expression: Expression, input: Json, scope: Scope): Generator<Json>
}
