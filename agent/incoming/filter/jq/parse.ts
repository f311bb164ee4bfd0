import { AppError } from "../../../../core/errors.ts"

/** The part of jq a test of a text needs: paths, comparisons, arithmetic, pipes, conditions, variables, and functions without definitions. */
export type Expression =
  | { kind: "identity" }
  | { kind: "literal"; value: unknown }
  | { kind: "text"; parts: (string | Expression)[] }
  | { kind: "variable"; name: string }
  | { kind: "field"; of: Expression; name: Expression; optional: boolean }
  | { kind: "slice"; of: Expression; from: Expression | undefined; to: Expression | undefined; optional: boolean }
  | { kind: "iterate"; of: Expression; optional: boolean }
  | { kind: "binary"; operator: string; left: Expression; right: Expression }
  | { kind: "negate"; of: Expression }
  | { kind: "call"; name: string; args: Expression[] }
  | { kind: "if"; branches: [test: Expression, then: Expression][]; otherwise: Expression | undefined }
  | { kind: "as"; value: Expression; name: string; body: Expression }
  | { kind: "try"; body: Expression; rescue: Expression | undefined }
  | { kind: "array"; of: Expression | undefined }
  | { kind: "object"; entries: [key: Expression, value: Expression][] }

const maxLength = 8192
const maxNesting = 100

/** Weakest first; `right` ones group to the right. Source: the jq manual. */
const levels: { operators: string[]; right?: boolean }[] = [
  { operators: ["|"], right: true },
  { operators: [","] },
  { operators: ["//"], right: true },
  { operators: ["or"] },
  { operators: ["and"] },
  { operators: ["==", "!=", "<=", ">=", "<", ">"] },
  { operators: ["+", "-"] },
  { operators: ["*", "/", "%"] },
]
const tokens =
  /\s*(?:#[^\n]*\s*)*(?:(\$__loc__|\$?[A-Za-z_]\w*(?:::\w+)*)|(\.[A-Za-z_]\w*)|(\d+(?:\.\d+)?(?:[eE][+-]?\d+)?|\.\d+)|(\?\/\/|\/\/|==|!=|<=|>=|\.\.|[.[\](){}|,:;<>+\-*/%?])|(")|($))/y

interface Token {
  kind: "word" | "field" | "number" | "sign" | "quote" | "end"
  text: string
}

/** @throws AppError "bad-jq" */
export function parseJq(source: string): Expression {
  if (source.length > maxLength) throw new AppError("bad-jq", `the jq program is longer than ${maxLength} characters`)
  const parser = new Parser(source)
  const expression = parser.pipe()
  parser.expectEnd()
  return expression
}

class Parser {
  readonly #source: string
  #at = 0
  #token: Token
  #depth = 0

  constructor(source: string) {
    this.#source = source
    this.#token = this.#read()
  }

  #fault(why: string): AppError {
    return new AppError("bad-jq", `the jq program "${this.#source}" ${why} (before character ${this.#at + 1})`, {
      next: "Correct the filter; definitions, reductions, formats and assignments are not known here.",
    })
  }

  #read(): Token {
    tokens.lastIndex = this.#at
    const found = tokens.exec(this.#source)
    if (!found) throw this.#fault("cannot be read")
    this.#at = tokens.lastIndex
    const kinds = ["word", "field", "number", "sign", "quote", "end"] as const
    const index = kinds.findIndex((_, at) => found[at + 1] !== undefined)
    return { kind: kinds[index]!, text: found[index + 1]! }
  }

  #next(): Token {
    const token = this.#token
    this.#token = this.#read()
    return token
  }

  #atQuote(): boolean {
    return this.#token.kind === "quote"
  }

  #take(text: string): boolean {
    if (this.#token.text !== text || this.#token.kind === "quote" || this.#token.kind === "end") return false
    this.#next()
    return true
  }

  #expect(text: string): void {
    if (!this.#take(text)) throw this.#fault(`lacks "${text}"`)
  }

  expectEnd(): void {
    if (this.#token.kind !== "end") throw this.#fault(`has an unexpected "${this.#token.text}"`)
  }

  pipe(): Expression {
    if (++this.#depth > maxNesting) throw this.#fault(`is nested deeper than ${maxNesting}`)
    const expression = this.#binary(0)
    this.#depth--
    return expression
  }

  #binary(level: number): Expression {
    const { operators, right } = levels[level] ?? { operators: [] }
    if (operators.length === 0) return this.#postfix()
    let left = this.#binary(level + 1)
    while (this.#token.kind !== "quote" && operators.includes(this.#token.text)) {
      const operator = this.#next().text
      left = { kind: "binary", operator, left, right: right ? this.#binary(level) : this.#binary(level + 1) }
    }
    return left
  }

  #postfix(): Expression {
    let of = this.#primary()
    for (;;) {
      if (this.#token.kind === "field")
        of = this.#withOptional("field", of, { kind: "literal", value: this.#next().text.slice(1) })
      else if (this.#take("[")) of = this.#bracket(of)
      else if (this.#take("?")) of = { kind: "try", body: of, rescue: undefined }
      else if (this.#take("as")) return this.#binding(of)
      else if (this.#token.text === "." && this.#token.kind === "sign") {
        this.#next()
        if (this.#take("[")) of = this.#bracket(of)
        else if (this.#atQuote()) of = this.#withOptional("field", of, this.#text())
        else throw this.#fault("has a stray dot")
      } else return of
    }
  }

  #withOptional(kind: "field", of: Expression, name: Expression): Expression {
    return { kind, of, name, optional: this.#take("?") }
  }

  #bracket(of: Expression): Expression {
    if (this.#take("]")) return { kind: "iterate", of, optional: this.#take("?") }
    const from = this.#token.text === ":" ? undefined : this.pipe()
    if (this.#take(":")) {
      const to = this.#token.text === "]" ? undefined : this.pipe()
      this.#expect("]")
      return { kind: "slice", of, from, to, optional: this.#take("?") }
    }
    this.#expect("]")
    return { kind: "field", of, name: from!, optional: this.#take("?") }
  }

  #binding(value: Expression): Expression {
    const name = this.#next().text
    if (!name.startsWith("$")) throw this.#fault("binds something that is not a $variable")
    this.#expect("|")
    return { kind: "as", value, name, body: this.pipe() }
  }

  #primary(): Expression {
    if (this.#token.kind === "quote") return this.#text()
    const { kind, text } = this.#next()
    if (kind === "number") return { kind: "literal", value: Number(text) }
    if (kind === "field")
      return this.#withOptional("field", { kind: "identity" }, { kind: "literal", value: text.slice(1) })
    if (kind === "word") return this.#word(text)
    switch (text) {
      case ".":
        return this.#atQuote() ? this.#withOptional("field", { kind: "identity" }, this.#text()) : { kind: "identity" }
      case "-":
        return { kind: "negate", of: this.#postfix() }
      case "(": {
        const inner = this.pipe()
        this.#expect(")")
        return inner
      }
      case "[": {
        if (this.#take("]")) return { kind: "array", of: undefined }
        const inner = this.pipe()
        this.#expect("]")
        return { kind: "array", of: inner }
      }
      case "{":
        return this.#object()
      default:
        throw this.#fault(`has an unexpected "${text}"`)
    }
  }

  #word(text: string): Expression {
    if (text.startsWith("$")) return { kind: "variable", name: text }
    if (text === "true" || text === "false") return { kind: "literal", value: text === "true" }
    if (text === "null") return { kind: "literal", value: null }
    if (text === "if") return this.#condition()
    if (text === "try") {
      const body = this.#postfix()
      return { kind: "try", body, rescue: this.#take("catch") ? this.#postfix() : undefined }
    }
    const args: Expression[] = []
    if (this.#take("(")) {
      do args.push(this.pipe())
      while (this.#take(";"))
      this.#expect(")")
    }
    return { kind: "call", name: text, args }
  }

  #condition(): Expression {
    const branches: [Expression, Expression][] = []
    do {
      const test = this.pipe()
      this.#expect("then")
      branches.push([test, this.pipe()])
    } while (this.#take("elif"))
    const otherwise = this.#take("else") ? this.pipe() : undefined
    this.#expect("end")
    return { kind: "if", branches, otherwise }
  }

  #object(): Expression {
    const entries: [Expression, Expression][] = []
    while (!this.#take("}")) {
      const key: Expression =
        this.#token.kind === "quote" ? this.#text() : { kind: "literal", value: this.#next().text }
      this.#expect(":")
      entries.push([key, this.#binary(2)])
      if (this.#token.text !== "}") this.#expect(",")
    }
    return { kind: "object", entries }
  }

  /** A string, with `\(…)` inside; the current token is its opening quote. */
  #text(): Expression {
    const parts: (string | Expression)[] = []
    let raw = ""
    const finish = () => {
      try {
        if (raw !== "") parts.push(JSON.parse(`"${raw}"`))
      } catch {
        throw this.#fault("has a text with a wrong escape")
      }
      raw = ""
    }
    for (;;) {
      const character = this.#source[this.#at++]
      if (character === undefined) throw this.#fault("has a text without an end")
      if (character === '"') break
      if (character === "\\" && this.#source[this.#at] === "(") {
        finish()
        this.#at++
        this.#token = this.#read()
        parts.push(this.pipe())
        // The closing parenthesis is the current token: what follows it is text again.
        if (this.#token.text !== ")") throw this.#fault('lacks ")"')
      } else raw += character === "\\" ? character + (this.#source[this.#at++] ?? "") : character
    }
    finish()
    this.#token = this.#read()
    return { kind: "text", parts }
  }
}
