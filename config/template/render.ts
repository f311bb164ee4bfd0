import { AppError, errorText } from "../../core/errors.ts"
import { evaluate, isTrue, type Scope } from "./expression.ts"
import { asText, type Value } from "./filters.ts"
import { type Piece, pieces, templateError } from "./tokens.ts"

/** Largest rendered text, in characters. */
const maxRenderedLength = 4 * 1024 * 1024

export interface TemplateInput {
  /** Absent while the key itself is rendered. */
  key?: string
  environment: Readonly<Record<string, string | undefined>>
  /** Called once, when the template asks for the branch. */
  gitBranch?(): string | undefined
}

/**
 * Renders a text in the Tera template language: `{{ expression }}`, `if`, `for`, `set`, `raw`, comments; filters and
 * functions that make sense for texts. The variables are `key` and `git_branch`.
 * @throws AppError "config-template"
 */
export function render(text: string, file: string, input: TemplateInput): string {
  if (!/\{[{%#]/.test(text)) return text
  const variables: Record<string, Value> = input.key === undefined ? {} : { key: input.key }
  const branch = text.includes("git_branch") ? input.gitBranch?.() : undefined
  if (branch) variables["git_branch"] = branch
  const template = new Template(pieces(text, file), file)
  return template.render({ variables, environment: input.environment })
}

class Template {
  readonly #pieces: readonly Piece[]
  readonly #file: string
  #out: string[] = []
  #length = 0

  constructor(all: readonly Piece[], file: string) {
    this.#pieces = all
    this.#file = file
  }

  render(scope: Scope): string {
    const end = this.#block(0, scope, true)
    if (end < this.#pieces.length) throw this.#error(end, `"${this.#pieces[end]!.content}" has no beginning`)
    return this.#out.join("")
  }

  /** Runs, or only passes over, the pieces up to a tag that ends or divides a block; gives its index. */
  #block(from: number, scope: Scope, active: boolean): number {
    let at = from
    while (at < this.#pieces.length) {
      const piece = this.#pieces[at]!
      if (piece.kind === "tag") {
        const [word = ""] = piece.content.split(/\s/, 1)
        if (/^(end|el)/.test(word)) return at
        at = this.#tag(word, at, scope, active)
      } else {
        if (active)
          this.#write(
            piece.kind === "text" ? piece.content : asText(this.#at(at, () => evaluate(piece.content, scope))),
          )
        at++
      }
    }
    return at
  }

  #tag(word: string, at: number, scope: Scope, active: boolean): number {
    if (word === "if") return this.#if(at, scope, active)
    if (word === "for") return this.#for(at, scope, active)
    if (word === "set" || word === "set_global") {
      const assignment = /^\w+\s+([A-Za-z_]\w*)\s*=([^=][\s\S]*)$/.exec(this.#pieces[at]!.content)
      if (assignment === null) throw this.#error(at, '"set" needs NAME = EXPRESSION')
      if (active) {
        const value = this.#at(at, () => evaluate(assignment[2]!, scope))
        ;(scope.variables as Record<string, Value>)[assignment[1]!] = value
      }
      return at + 1
    }
    throw this.#error(at, `there is no tag "${word}"`)
  }

  #if(from: number, scope: Scope, active: boolean): number {
    let done = !active
    let at = from
    for (;;) {
      const [, word, condition = ""] = /^(\w+)\s*([\s\S]*)$/.exec(this.#pieces[at]!.content)!
      if (word === "endif") return at + 1
      const chosen = !done && (word === "else" || this.#at(at, () => isTrue(condition, scope)))
      done ||= chosen
      at = this.#block(at + 1, scope, chosen)
      if (!/^(elif|else|endif)\b/.test(this.#pieces[at]?.content ?? "")) throw this.#error(from, '"if" has no "endif"')
    }
  }

  #for(from: number, scope: Scope, active: boolean): number {
    const form = /^for\s+([A-Za-z_]\w*)\s+in\s+([\s\S]+)$/.exec(this.#pieces[from]!.content)
    if (form === null) throw this.#error(from, '"for" needs NAME in LIST')
    const items = active ? this.#at(from, () => evaluate(form[2]!, scope)) : []
    if (!Array.isArray(items)) throw this.#error(from, '"for" needs a list')
    let end = 0
    items.forEach((item, index) => {
      const loop = { index: index + 1, index0: index, first: index === 0, last: index === items.length - 1 }
      end = this.#block(from + 1, { ...scope, variables: { ...scope.variables, [form[1]!]: item, loop } }, true)
    })
    if (items.length === 0) end = this.#block(from + 1, scope, false)
    if (this.#pieces[end]?.content !== "endfor") throw this.#error(from, '"for" has no "endfor"')
    return end + 1
  }

  #write(text: string): void {
    this.#length += text.length
    if (this.#length > maxRenderedLength) {
      throw new AppError("config-template", `${this.#file} becomes longer than ${maxRenderedLength} characters`)
    }
    this.#out.push(text)
  }

  #at<T>(piece: number, run: () => T): T {
    try {
      return run()
    } catch (thrown) {
      throw this.#error(piece, errorText(thrown))
    }
  }

  #error(piece: number, what: string): AppError {
    return templateError(this.#file, this.#pieces[Math.min(piece, this.#pieces.length - 1)]!.line, what)
  }
}
