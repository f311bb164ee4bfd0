import { AppError } from "../../../../core/errors.ts"
import type { Expression, Pattern } from "./expression.ts"
import { formats } from "./formats.ts"

/** What is bound where an expression stands. */
interface Names {
  variables: ReadonlySet<string>
  /** As "map/1". */
  functions: ReadonlySet<string>
}

/** Refuses a program that uses what nobody defines. `isKnown`: jq has such a function. @throws AppError "bad-jq" */
export function checkNames(program: Expression, isKnown: (key: string) => boolean): void {
  function check(expression: Expression, names: Names): void {
    switch (expression.kind) {
      case "variable":
        if (!names.variables.has(expression.name)) throw bad(`uses ${expression.name}, which nothing binds`)
        return
      case "format":
        if (!Object.hasOwn(formats, expression.name))
          throw bad(`uses the format ${expression.name}, which is not known here`)
        return
      case "call": {
        const key = `${expression.name}/${expression.args.length}`
        if (!names.functions.has(key) && !isKnown(key)) throw bad(`uses the function ${key}, which is not known here`)
        break
      }
      case "def":
        checkDefinition(expression, names)
        return
      case "as":
      case "reduce":
      case "foreach": {
        const { value, pattern, kind, ...rest } = expression
        check(value, names)
        checkParts(rest, bind(pattern, names))
        return
      }
    }
    checkParts(expression, names)
  }

  function checkParts(expression: object, names: Names): void {
    for (const part of Object.values(expression).flat(2)) {
      if (typeof part === "object" && part !== null && "kind" in part) check(part as Expression, names)
    }
  }

  function checkDefinition({ name, params, body, rest }: Extract<Expression, { kind: "def" }>, names: Names): void {
    const functions = new Set([...names.functions, `${name}/${params.length}`])
    const own = params.map((param) => `${param.replace(/^\$/, "")}/0`)
    const variables = new Set([...names.variables, ...params.filter((param) => param.startsWith("$"))])
    check(body, { variables, functions: new Set([...functions, ...own]) })
    check(rest, { ...names, functions })
  }

  function bind(pattern: Pattern, names: Names): Names {
    if (pattern.kind === "name") return { ...names, variables: new Set([...names.variables, pattern.name]) }
    if (pattern.kind === "items") return pattern.items.reduce((inner, item) => bind(item, inner), names)
    return pattern.entries.reduce((inner, [key, value]) => {
      check(key, inner)
      return bind(value, inner)
    }, names)
  }

  check(program, { variables: new Set(), functions: new Set() })
}

const bad = (why: string) => new AppError("bad-jq", `the jq program ${why}`, { next: "Correct the filter." })
