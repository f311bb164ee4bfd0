import { type Arguments, asText, filters, type Value } from "./filters.ts"

/** What names stand for, and what the world outside says. */
export interface Scope {
  variables: Readonly<Record<string, Value>>
  environment: Readonly<Record<string, string | undefined>>
}

const tokenForm =
  /\s*(?:("(?:[^"])*"|'(?:[^'])*'|`(?:[^`])*`)|(\d+(?:\.\d+)?)|([A-Za-z_]\w*)|(==|!=|<=|>=|[-+*/%~|()[\],.<>=:]))/y

/** The value of an expression of the Tera language. @throws Error with what is wrong */
export function evaluate(source: string, scope: Scope): Value {
  const expression = new Expression(source, scope)
  const value = expression.or()
  expression.end()
  return value
}

/** An undefined name is false here, and an error elsewhere. */
export function isTrue(source: string, scope: Scope): boolean {
  const expression = new Expression(source, scope, true)
  const value = expression.or()
  expression.end()
  return truthy(value)
}

export function truthy(value: Value): boolean {
  return Array.isArray(value) ? value.length > 0 : Boolean(value)
}

/** Reads and evaluates in one pass, one method for each level of binding. */
class Expression {
  readonly #tokens: string[]
  readonly #scope: Scope
  readonly #lenient: boolean
  #at = 0

  constructor(source: string, scope: Scope, lenient = false) {
    this.#tokens = tokens(source)
    this.#scope = scope
    this.#lenient = lenient
  }

  end(): void {
    if (this.#at < this.#tokens.length) throw new Error(`"${this.#tokens[this.#at]}" is not expected here`)
  }

  or(): Value {
    let value = this.#and()
    while (this.#take("or")) {
      const right = this.#and()
      value = truthy(value) || truthy(right)
    }
    return value
  }

  #and(): Value {
    let value = this.#not()
    while (this.#take("and")) {
      const right = this.#not()
      value = truthy(value) && truthy(right)
    }
    return value
  }

  #not(): Value {
    return this.#take("not") ? !truthy(this.#not()) : this.#comparison()
  }

  #comparison(): Value {
    const left = this.#filtered()
    if (this.#take("is")) {
      const negated = this.#take("not")
      return this.#test(left) !== negated
    }
    const negated = this.#peek() === "not" && this.#tokens[this.#at + 1] === "in" && this.#take("not")
    if (this.#take("in")) {
      const right = this.#filtered()
      const found = Array.isArray(right) ? right.includes(left) : asText(right).includes(asText(left))
      return found !== negated
    }
    const operator = this.#peek() ?? ""
    const compare = comparisons[operator]
    if (compare === undefined) return left
    this.#at++
    return compare(left, this.#filtered())
  }

  /** Filters are for everything left of them, sums and joined texts included. */
  #filtered(): Value {
    const start = this.#at
    let value: Value
    let missing: Error | undefined
    try {
      value = this.#sum()
    } catch (thrown) {
      if (!(thrown instanceof UndefinedName)) throw thrown
      // Only `default`, `is defined` and conditions forgive it; the name is read, what follows it tells.
      missing = thrown
      this.#at = Math.max(this.#at, start + 1)
    }
    while (this.#take("|")) {
      const name = this.#next()
      const args = this.#peek() === "(" ? this.#arguments() : {}
      if (name === "default") {
        if (value === undefined) value = args["value"]
        missing = undefined
        continue
      }
      if (missing !== undefined) break
      const filter = filters[name]
      if (filter === undefined) throw new Error(`there is no filter "${name}"`)
      value = filter(value, args)
    }
    if (missing !== undefined && !this.#lenient && this.#peek() !== "is") throw missing
    return value
  }

  #sum(): Value {
    let value = this.#product()
    for (;;) {
      if (this.#take("~")) value = asText(value) + asText(this.#product())
      else if (this.#take("+")) value = Number(value) + Number(this.#product())
      else if (this.#take("-")) value = Number(value) - Number(this.#product())
      else return value
    }
  }

  #product(): Value {
    let value = this.#primary()
    for (;;) {
      if (this.#take("*")) value = Number(value) * Number(this.#primary())
      else if (this.#take("/")) value = Number(value) / Number(this.#primary())
      else if (this.#take("%")) value = Number(value) % Number(this.#primary())
      else return value
    }
  }

  #primary(): Value {
    const token = this.#next()
    if (/^["'`]/.test(token)) return token.slice(1, -1)
    if (/^\d/.test(token)) return Number(token)
    if (token === "-") return -Number(this.#primary())
    if (token === "true" || token === "True") return true
    if (token === "false" || token === "False") return false
    if (token === "(") {
      const value = this.or()
      this.#expect(")")
      return value
    }
    if (token === "[") return this.#list()
    if (!/^[A-Za-z_]/.test(token)) throw new Error(`"${token}" is not expected here`)
    return this.#peek() === "(" ? this.#call(token) : this.#name(token)
  }

  #list(): Value[] {
    const items: Value[] = []
    while (!this.#take("]")) {
      items.push(this.or())
      if (this.#peek() !== "]") this.#expect(",")
    }
    return items
  }

  #name(name: string): Value {
    let value: Value = Object.hasOwn(this.#scope.variables, name) ? this.#scope.variables[name] : undefined
    let path = name
    for (;;) {
      let key: Value
      if (this.#take(".")) key = this.#next()
      else if (this.#take("[")) {
        key = this.or()
        this.#expect("]")
      } else break
      path += `.${asText(key)}`
      const holder = value as Record<string, Value> | undefined
      value = typeof holder === "object" && Object.hasOwn(holder, asText(key)) ? holder[asText(key)] : undefined
    }
    if (value === undefined)
      throw new UndefinedName(`"${path}" is not defined here; give it a value with "| default(value=…)"`)
    return value
  }

  #call(name: string): Value {
    const args = this.#arguments()
    if (name === "get_env") {
      const value = this.#scope.environment[asText(args["name"])] ?? args["default"]
      if (value === undefined) throw new Error(`the environment variable ${asText(args["name"])} is not set`)
      return value
    }
    if (name === "range") {
      const step = Number(args["step_by"] ?? 1)
      const from = Number(args["start"] ?? 0)
      const count = Math.ceil((Number(args["end"]) - from) / step)
      if (!(count >= 0 && count <= maxRange)) throw new Error(`a range may have up to ${maxRange} numbers`)
      return Array.from({ length: count }, (_, index) => from + index * step)
    }
    if (name === "throw") throw new Error(asText(args["message"]))
    throw new Error(`there is no function "${name}"`)
  }

  #test(value: Value): boolean {
    const name = this.#next()
    const operand = this.#take("(") ? asText(this.or()) : ""
    if (["starting_with", "ending_with", "containing", "matching", "divisibleby"].includes(name)) this.#expect(")")
    const test = tests[name]
    if (test === undefined) throw new Error(`there is no test "${name}"`)
    return test(value, operand)
  }

  #arguments(): Arguments {
    const args: Record<string, Value> = {}
    this.#expect("(")
    while (!this.#take(")")) {
      const name = this.#next()
      this.#expect("=")
      args[name] = this.or()
      if (this.#peek() !== ")") this.#expect(",")
    }
    return args
  }

  #peek(): string | undefined {
    return this.#tokens[this.#at]
  }

  #next(): string {
    const token = this.#tokens[this.#at++]
    if (token === undefined) throw new Error("the expression ends too early")
    return token
  }

  #take(token: string): boolean {
    if (this.#peek() !== token) return false
    this.#at++
    return true
  }

  #expect(token: string): void {
    if (!this.#take(token)) throw new Error(`"${token}" is expected`)
  }
}

class UndefinedName extends Error {}

/** Numbers a `range` may have. */
const maxRange = 1000

const comparisons: Record<string, (left: Value, right: Value) => boolean> = {
  "==": (left, right) => left === right,
  "!=": (left, right) => left !== right,
  "<": (left, right) => Number(left) < Number(right),
  ">": (left, right) => Number(left) > Number(right),
  "<=": (left, right) => Number(left) <= Number(right),
  ">=": (left, right) => Number(left) >= Number(right),
}

const tests: Record<string, (value: Value, operand: string) => boolean> = {
  defined: (value) => value !== undefined,
  undefined: (value) => value === undefined,
  odd: (value) => Number(value) % 2 !== 0,
  even: (value) => Number(value) % 2 === 0,
  string: (value) => typeof value === "string",
  number: (value) => typeof value === "number",
  iterable: (value) => Array.isArray(value),
  starting_with: (value, operand) => asText(value).startsWith(operand),
  ending_with: (value, operand) => asText(value).endsWith(operand),
  containing: (value, operand) => asText(value).includes(operand),
  matching: (value, operand) => new RegExp(operand).test(asText(value)),
  divisibleby: (value, operand) => Number(value) % Number(operand) === 0,
}

function tokens(source: string): string[] {
  const out: string[] = []
  tokenForm.lastIndex = 0
  while (source.slice(tokenForm.lastIndex).trim() !== "") {
    const at = tokenForm.lastIndex
    const match = tokenForm.exec(source)
    if (match === null) throw new Error(`"${source.slice(at).trim()[0]}" is not expected here`)
    out.push(match[0].trim())
  }
  return out
}
