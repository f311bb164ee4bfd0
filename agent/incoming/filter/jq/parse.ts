import { AppError } from "../../../../core/errors.ts"
import type { Expression, Pattern } from "./expression.ts"

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
  /\s*(?:#[^\n]*\s*)*(?:(\$__loc__|[$@]?[A-Za-z_]\w*(?:::\w+)*)|(\.[A-Za-z_]\w*)|(\d+(?:\.\d+)?(?:[eE][+-]?\d+)?|\.\d+)|(\?\/\/|\/\/|==|!=|<=|>=|\.\.|[.[\](){}|,:;<>+\-*/%?])|(")|($))/y

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
      next: "Correct the filter; assignments, paths, labels and modules are not known here.",
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
    const expression = this.#take("def") ? this.#definition() : this.#binary(0)
    this.#depth--
    return expression
  }

  /** `name(params): body; rest` */
  #definition(): Expression {
    const name = this.#next().text
    const params: string[] = []
    if (this.#take("(")) {
      do params.push(this.#next().text)
      while (this.#take(";"))
      this.#expect(")")
    }
    this.#expect(":")
    const body = this.pipe()
    this.#expect(";")
    return { kind: "def", name, params, body, rest: this.pipe() }
  }

  #binary(level: number): Expression {
    const { operators, right } = levels[level] ?? { operators: [] }
    if (operators.length === 0) return this.#postfix()
    let left = this.#binary(level + 1)
    while (this.#token.kind !== "quote" && operators.includes(this.#token.text)) {
      const operator = this.#next().text
      if (operator === "|" && this.#token.text === "def") return { kind: "binary", operator, left, right: this.pipe() }
      left = { kind: "binary", operator, left, right: right ? this.#binary(level) : this.#binary(level + 1) }
    }
    return left
  }

  /** `mayBind`: `as` behind it belongs to it. */
  #postfix(mayBind = true): Expression {
    let of = this.#primary()
    for (;;) {
      if (this.#token.kind === "field")
        of = this.#withOptional("field", of, { kind: "literal", value: this.#next().text.slice(1) })
      else if (this.#take("[")) of = this.#bracket(of)
      else if (this.#take("?")) of = { kind: "try", body: of, rescue: undefined }
      else if (mayBind && this.#take("as")) return this.#binding(of)
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
    const pattern = this.#pattern()
    this.#expect("|")
    return { kind: "as", value, pattern, body: this.pipe() }
  }

  #pattern(): Pattern {
    if (++this.#depth > maxNesting) throw this.#fault(`is nested deeper than ${maxNesting}`)
    const pattern = this.#take("[") ? this.#items() : this.#take("{") ? this.#entries() : this.#name()
    this.#depth--
    return pattern
  }

  #name(): Pattern {
    const { kind, text } = this.#next()
    if (kind !== "word" || !text.startsWith("$")) throw this.#fault("binds something that is not a $variable")
    return { kind: "name", name: text }
  }

  #items(): Pattern {
    const items: Pattern[] = []
    do items.push(this.#pattern())
    while (this.#take(","))
    this.#expect("]")
    return { kind: "items", items }
  }

  #entries(): Pattern {
    const entries: [Expression, Pattern][] = []
    do {
      const { text } = this.#token
      const key = this.#key()
      if (text.startsWith("$")) entries.push([key, { kind: "name", name: text }])
      if (this.#take(":")) entries.push([key, this.#pattern()])
      else if (!text.startsWith("$")) throw this.#fault('lacks ":"')
    } while (this.#take(","))
    this.#expect("}")
    return { kind: "entries", entries }
  }

  /** Of an object; that of a variable is its name. */
  #key(): Expression {
    if (this.#token.kind === "quote") return this.#text()
    if (this.#take("(")) {
      const key = this.pipe()
      this.#expect(")")
      return key
    }
    const { kind, text } = this.#next()
    if (kind !== "word" && kind !== "number") throw this.#fault(`has an unexpected "${text}"`)
    return { kind: "literal", value: text.replace(/^\$/, "") }
  }

  /** `reduce` or `foreach`: a term, a pattern, and what is done for each value. */
  #fold(kind: "reduce" | "foreach"): Expression {
    const value = this.#postfix(false)
    this.#expect("as")
    const pattern = this.#pattern()
    this.#expect("(")
    const init = this.pipe()
    this.#expect(";")
    const update = this.pipe()
    const extract = kind === "foreach" && this.#take(";") ? this.pipe() : undefined
    this.#expect(")")
    return kind === "reduce" ? { kind, value, pattern, init, update } : { kind, value, pattern, init, update, extract }
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
      case "..":
        return { kind: "call", name: "recurse", args: [] }
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
    if (text === "reduce" || text === "foreach") return this.#fold(text)
    if (text.startsWith("@")) return this.#atQuote() ? this.#text(text) : { kind: "format", name: text }
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
      const { text } = this.#token
      const key = this.#key()
      if (this.#take(":")) entries.push([key, this.#binary(2)])
      else if (text.startsWith("$")) entries.push([key, { kind: "variable", name: text }])
      else entries.push([key, { kind: "field", of: { kind: "identity" }, name: key, optional: false }])
      if (this.#token.text !== "}") this.#expect(",")
    }
    return { kind: "object", entries }
  }

  /** A string, with `\(…)` inside, each in the given format; the current token is its opening quote. */
  #text(format?: string): Expression {
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
        const part = this.pipe()
        const formatted: Expression = { kind: "format", name: format ?? "@text" }
        parts.push(format === undefined ? part : { kind: "binary", operator: "|", left: part, right: formatted })
        // The closing parenthesis is the current token: what follows it is text again.
        if (this.#token.text !== ")") throw this.#fault('lacks ")"')
      } else raw += character === "\\" ? character + (this.#source[this.#at++] ?? "") : character
    }
    finish()
    this.#token = this.#read()
    return { kind: "text", parts }
  }
}
