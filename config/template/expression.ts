import type { Value } from "./value.ts"

/** An expression of the Tera language, read but not yet evaluated. */
export type Expression =
  | { kind: "literal"; value: Value }
  | { kind: "list"; items: Expression[] }
  | { kind: "name"; name: string; keys: Expression[] }
  | { kind: "call"; name: string; args: ArgumentExpressions }
  | { kind: "macro"; name: string; args: ArgumentExpressions }
  | { kind: "filter"; of: Expression; name: string; args: ArgumentExpressions }
  | { kind: "test"; of: Expression; name: string; args: Expression[]; negated: boolean }
  | { kind: "in"; item: Expression; holder: Expression; negated: boolean }
  | { kind: "not"; of: Expression }
  | { kind: "binary"; operator: string; left: Expression; right: Expression }

export type ArgumentExpressions = Readonly<Record<string, Expression>>

const tokenForm =
  /\s*(?:("[^"]*"|'[^']*'|`[^`]*`)|(\d+(?:\.\d+)?)|([A-Za-z_]\w*)|(==|!=|<=|>=|::|[-+*/%~|()[\],.<>=]))/y
const comparisons = ["==", "!=", "<=", ">=", "<", ">"]

/** How deep an expression may nest. */
const maxDepth = 100

/** Reads an expression from beginning to end. @throws Error with what is wrong */
export function parseExpression(source: string): Expression {
  const parser = new Parser(source)
  const found = parser.or()
  parser.end()
  return found
}

/** Reads `name` or `name(argument=…)`, as a filter section has it. */
export function parseCall(source: string): { name: string; args: ArgumentExpressions } {
  const parser = new Parser(source)
  const found = parser.call()
  parser.end()
  return found
}

/** One method for each level of binding. */
class Parser {
  readonly #tokens: string[]
  #at = 0
  #depth = 0

  constructor(source: string) {
    this.#tokens = tokens(source)
  }

  end(): void {
    if (this.#at < this.#tokens.length) throw new Error(`"${this.#tokens[this.#at]}" is not expected here`)
  }

  call(): { name: string; args: ArgumentExpressions } {
    const name = this.#identifier()
    return { name, args: this.#peek() === "(" ? this.#arguments() : {} }
  }

  or(): Expression {
    if (++this.#depth > maxDepth) throw new Error(`it nests deeper than ${maxDepth} levels`)
    let left = this.#and()
    while (this.#take("or")) left = { kind: "binary", operator: "or", left, right: this.#and() }
    this.#depth--
    return left
  }

  #and(): Expression {
    let left = this.#not()
    while (this.#take("and")) left = { kind: "binary", operator: "and", left, right: this.#not() }
    return left
  }

  #not(): Expression {
    let negations = 0
    while (this.#take("not")) negations++
    const of = this.#comparison()
    return negations % 2 === 0 ? of : { kind: "not", of }
  }

  #comparison(): Expression {
    const left = this.#filtered()
    if (this.#take("is")) return this.#test(left)
    const negated = this.#peek() === "not" && this.#tokens[this.#at + 1] === "in" && this.#take("not")
    if (this.#take("in")) return { kind: "in", item: left, holder: this.#filtered(), negated }
    const operator = this.#peek() ?? ""
    if (!comparisons.includes(operator)) return left
    this.#at++
    return { kind: "binary", operator, left, right: this.#filtered() }
  }

  /** Filters are for everything left of them, sums and joined texts included. */
  #filtered(): Expression {
    let of = this.#sum()
    while (this.#take("|")) of = { kind: "filter", of, ...this.call() }
    return of
  }

  #sum(): Expression {
    let left = this.#product()
    for (let operator = this.#oneOf("~", "+", "-"); operator !== undefined; operator = this.#oneOf("~", "+", "-")) {
      left = { kind: "binary", operator, left, right: this.#product() }
    }
    return left
  }

  #product(): Expression {
    let left = this.#primary()
    for (let operator = this.#oneOf("*", "/", "%"); operator !== undefined; operator = this.#oneOf("*", "/", "%")) {
      left = { kind: "binary", operator, left, right: this.#primary() }
    }
    return left
  }

  #primary(): Expression {
    const token = this.#next()
    if (/^["'`]/.test(token)) return { kind: "literal", value: token.slice(1, -1) }
    if (/^\d/.test(token)) return { kind: "literal", value: Number(token) }
    if (token === "-" && /^\d/.test(this.#peek() ?? "")) return { kind: "literal", value: -Number(this.#next()) }
    if (/^(true|True|false|False)$/.test(token)) return { kind: "literal", value: token.toLowerCase() === "true" }
    if (token === "(") {
      const inner = this.or()
      this.#expect(")")
      return inner
    }
    if (token === "[") return { kind: "list", items: this.#until("]") }
    if (!/^[A-Za-z_]/.test(token)) throw new Error(`"${token}" is not expected here`)
    if (this.#peek() === "(") return { kind: "call", name: token, args: this.#arguments() }
    if (this.#take("::")) {
      if (token !== "self") throw new Error(`"${token}" is another template, and there is only this one`)
      return { kind: "macro", name: this.#identifier(), args: this.#arguments() }
    }
    return this.#name(token)
  }

  #name(name: string): Expression {
    const keys: Expression[] = []
    for (;;) {
      if (this.#take("."))
        keys.push(
          ...this.#next()
            .split(".")
            .map((value): Expression => ({ kind: "literal", value })),
        )
      else if (this.#take("[")) {
        keys.push(this.or())
        this.#expect("]")
      } else return { kind: "name", name, keys }
    }
  }

  #test(of: Expression): Expression {
    const negated = this.#take("not")
    const name = this.#identifier()
    return { kind: "test", of, name, args: this.#take("(") ? this.#until(")") : [], negated }
  }

  /** Expressions with commas between them; one after the last is allowed. */
  #until(end: string): Expression[] {
    const items: Expression[] = []
    while (!this.#take(end)) {
      items.push(this.or())
      if (this.#peek() !== end) this.#expect(",")
    }
    return items
  }

  #arguments(): ArgumentExpressions {
    const args: Record<string, Expression> = {}
    this.#expect("(")
    while (!this.#take(")")) {
      const name = this.#identifier()
      this.#expect("=")
      args[name] = this.or()
      if (this.#peek() !== ")") this.#expect(",")
    }
    return args
  }

  #identifier(): string {
    const token = this.#next()
    if (!/^[A-Za-z_]/.test(token)) throw new Error(`"${token}" is not expected here`)
    return token
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

  #oneOf(...operators: string[]): string | undefined {
    return operators.find((operator) => this.#take(operator))
  }

  #expect(token: string): void {
    if (!this.#take(token)) throw new Error(`"${token}" is expected`)
  }
}

function tokens(source: string): string[] {
  const out: string[] = []
  tokenForm.lastIndex = 0
  for (let at = 0; source.slice(at).trim() !== ""; at = tokenForm.lastIndex) {
    const match = tokenForm.exec(source)
    if (match === null) throw new Error(`"${source.slice(at).trim()[0]}" is not expected here`)
    out.push(match[0].trim())
  }
  return out
}
