import { AppError, errorText } from "../../core/errors.ts"
import { type ArgumentExpressions, type Expression, parseCall, parseExpression } from "./expression.ts"
import { type Piece, templateError } from "./tokens.ts"

/** A part of a template, read but not yet run. */
export type Statement = { line: number } & (
  | { kind: "text"; text: string }
  | { kind: "output"; value: Expression }
  | { kind: "set"; name: string; value: Expression; global: boolean }
  | { kind: "if"; branches: { condition: Expression; body: Statement[] }[]; otherwise: Statement[] }
  | { kind: "for"; key?: string; item: string; items: Expression; body: Statement[]; otherwise: Statement[] }
  | { kind: "filter"; name: string; args: ArgumentExpressions; body: Statement[] }
  | { kind: "macro"; name: string; parameters: Map<string, Expression | undefined>; body: Statement[] }
  | { kind: "block"; body: Statement[] }
  | { kind: "break" | "continue" }
)

const word = String.raw`[A-Za-z_]\w*`
/** How deep statements may nest. */
const maxDepth = 100

/** Reads a template's pieces. @throws AppError "config-template" with file and line */
export function parseStatements(pieces: readonly Piece[], file: string): Statement[] {
  return new Parser(pieces, file).all()
}

class Parser {
  readonly #pieces: readonly Piece[]
  readonly #file: string
  #at = 0
  #depth = 0

  constructor(pieces: readonly Piece[], file: string) {
    this.#pieces = pieces
    this.#file = file
  }

  all(): Statement[] {
    const found = this.#body()
    const rest = this.#pieces[this.#at]
    if (rest !== undefined) throw templateError(this.#file, rest.line, `"${rest.content}" has no beginning`)
    return found
  }

  /** Everything up to a tag that ends or divides a block. */
  #body(): Statement[] {
    const found: Statement[] = []
    for (let piece = this.#pieces[this.#at]; piece !== undefined; piece = this.#pieces[this.#at]) {
      if (piece.kind === "tag" && /^(end\w+|else|elif)\b/.test(piece.content)) break
      this.#at++
      found.push(this.#located(piece, () => this.#statement(piece)))
    }
    return found
  }

  #statement(piece: Piece): Statement {
    const { kind, content, line } = piece
    if (kind === "text") return { kind, text: content, line }
    if (kind === "output") return { kind, value: parseExpression(content), line }
    const [, name = "", rest = ""] = /^(\w*)\s*([\s\S]*)$/.exec(content)!
    switch (name) {
      case "set":
      case "set_global": {
        const [, variable, value] = this.#form(
          rest,
          `(${word})\\s*=([^=][\\s\\S]*)`,
          `"${name}" needs NAME = EXPRESSION`,
        )
        return { kind: "set", name: variable!, value: parseExpression(value!), global: name === "set_global", line }
      }
      case "if":
        return this.#if(piece, rest)
      case "for":
        return this.#for(piece, rest)
      case "filter":
        return { kind: "filter", ...parseCall(rest), body: this.#closed(piece, name), line }
      case "block":
        this.#form(rest, `(${word})`, '"block" needs a name')
        return { kind: "block", body: this.#closed(piece, name), line }
      case "macro":
        return this.#macro(piece, rest)
      case "break":
      case "continue":
        return { kind: name, line }
      case "include":
        if (/\bignore\s+missing$/.test(rest)) return { kind: "text", text: "", line }
        throw new Error("there is no other template to include")
      case "import":
      case "extends":
        throw new Error(`there is no other template to ${name === "import" ? name : "extend"}`)
      default:
        throw new Error(`there is no tag "${name}"`)
    }
  }

  #if(piece: Piece, first: string): Statement {
    const branches: { condition: Expression; body: Statement[] }[] = []
    let condition = first
    for (;;) {
      branches.push({ condition: parseExpression(condition), body: this.#nested() })
      const next = this.#pieces[this.#at]
      const elif = /^elif\s+([\s\S]+)$/.exec(next?.content ?? "")
      if (next?.kind !== "tag" || elif === null) break
      this.#at++
      condition = elif[1]!
    }
    const otherwise = this.#otherwise()
    this.#end(piece, "if")
    return { kind: "if", branches, otherwise, line: piece.line }
  }

  #for(piece: Piece, rest: string): Statement {
    const form = `(?:(${word})\\s*,\\s*)?(${word})\\s+in\\s+([\\s\\S]+)`
    const [, key, item, items] = this.#form(rest, form, '"for" needs NAME in LIST')
    const body = this.#nested()
    const otherwise = this.#otherwise()
    this.#end(piece, "for")
    const names = key === undefined ? { item: item! } : { key, item: item! }
    return { kind: "for", ...names, items: parseExpression(items!), body, otherwise, line: piece.line }
  }

  #macro(piece: Piece, rest: string): Statement {
    if (this.#depth > 0) throw new Error('"macro" stands at the top of the file only')
    const [, name, list] = this.#form(rest, `(${word})\\s*\\(([\\s\\S]*)\\)`, '"macro" needs NAME(PARAMETERS)')
    const parameters = new Map<string, Expression | undefined>()
    for (const each of list!.split(/,(?=(?:[^"'`]|"[^"]*"|'[^']*'|`[^`]*`)*$)/)) {
      if (each.trim() === "") continue
      const [, parameter, value] = this.#form(each.trim(), `(${word})(?:\\s*=([\\s\\S]+))?`, "a parameter needs a name")
      parameters.set(parameter!, value === undefined ? undefined : parseExpression(value))
    }
    return { kind: "macro", name: name!, parameters, body: this.#closed(piece, "macro"), line: piece.line }
  }

  #otherwise(): Statement[] {
    if (this.#pieces[this.#at]?.kind !== "tag" || this.#pieces[this.#at]?.content !== "else") return []
    this.#at++
    return this.#nested()
  }

  #closed(piece: Piece, name: string): Statement[] {
    const body = this.#nested()
    this.#end(piece, name)
    return body
  }

  #nested(): Statement[] {
    if (++this.#depth > maxDepth) throw new Error(`blocks nest deeper than ${maxDepth} levels`)
    const body = this.#body()
    this.#depth--
    return body
  }

  /** The tag that ends a block; a block and a macro may repeat their name in it. */
  #end(piece: Piece, name: string): void {
    const next = this.#pieces[this.#at]
    if (next?.kind !== "tag" || next.content.split(/\s/)[0] !== `end${name}`) {
      throw templateError(this.#file, piece.line, `"${name}" has no "end${name}"`)
    }
    this.#at++
  }

  #form(text: string, form: string, needs: string): RegExpExecArray {
    const match = new RegExp(`^${form}$`).exec(text)
    if (match === null) throw new Error(needs)
    return match
  }

  #located<T>(piece: Piece, run: () => T): T {
    try {
      return run()
    } catch (thrown) {
      throw thrown instanceof AppError ? thrown : templateError(this.#file, piece.line, errorText(thrown))
    }
  }
}
