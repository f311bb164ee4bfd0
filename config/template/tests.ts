import { compilePattern } from "../pattern.ts"
import { isObject, number, same, text, type Value } from "./value.ts"

type Test = (value: Value | undefined, operands: readonly Value[]) => boolean

/** A test that needs a value, and one operand where it says so. */
const of =
  (run: (value: Value, operand: Value) => boolean, needsOperand = false): Test =>
  (value, operands) => {
    if (value === undefined) throw new Error("a test of something that is not defined")
    if (operands.length !== Number(needsOperand)) {
      throw new Error(`the test takes ${needsOperand ? "one operand" : "no operand"}`)
    }
    return run(value, operands[0] ?? "")
  }

/** The tests of the Tera language: what may stand behind `is`. */
export const tests: Readonly<Record<string, Test>> = {
  defined: (value) => value !== undefined,
  undefined: (value) => value === undefined,
  odd: of((value) => number(value) % 2 !== 0),
  even: of((value) => number(value) % 2 === 0),
  divisibleby: of((value, by) => number(value) % number(by) === 0, true),
  string: of((value) => typeof value === "string"),
  number: of((value) => typeof value === "number"),
  iterable: of((value) => typeof value === "object"),
  object: of((value) => isObject(value)),
  starting_with: of((value, start) => text(value).startsWith(text(start)), true),
  ending_with: of((value, end) => text(value).endsWith(text(end)), true),
  matching: of((value, pattern) => compilePattern(text(pattern)).test(text(value)), true),
  containing: of((value, part) => {
    if (Array.isArray(value)) return value.some((item) => same(item, part))
    return isObject(value) ? Object.hasOwn(value, text(part)) : text(value).includes(text(part))
  }, true),
}
