import { AppError, errorText } from "../../core/errors.ts"
import { evaluate, isTrue, type Surroundings } from "./evaluate.ts"
import { filters } from "./filters/index.ts"
import { Scope } from "./scope.ts"
import { parseStatements, type Statement } from "./statements.ts"
import { pieces, templateError } from "./tokens.ts"
import { type Arguments, asText, isObject, type Value } from "./value.ts"

/** Largest rendered text, in characters. */
const maxRenderedLength = 4 * 1024 * 1024
/** Statements and turns of loops that may run: more is a loop that has no end in sight. */
const maxSteps = 1_000_000
/** How deep macros may call each other. */
const maxMacroDepth = 50

export interface TemplateInput {
  /** Absent while the key itself is rendered. */
  key?: string
  environment: Readonly<Record<string, string | undefined>>
  /** Called once, when the template asks for the branch. */
  gitBranch?(): string | undefined
}

/**
 * Renders a text in the Tera template language, with all it has for a single file: expressions, `if`, `for`, `set`,
 * `filter`, `macro`, `raw`, its filters, tests and functions. The variables are `key` and `git_branch`.
 * @throws AppError "config-template"
 */
export function render(text: string, file: string, input: TemplateInput): string {
  if (!/\{[{%#]/.test(text)) return text
  const variables: Record<string, Value> = input.key === undefined ? {} : { key: input.key }
  const branch = text.includes("git_branch") ? input.gitBranch?.() : undefined
  if (branch) variables["git_branch"] = branch
  const statements = parseStatements(pieces(text, file), file)
  return new Run(file, statements, input.environment).render(statements, new Scope(variables))
}

/** What a body asked of the loop around it. */
type Outcome = "break" | "continue" | undefined

class Run {
  readonly #file: string
  readonly #macros = new Map<string, Extract<Statement, { kind: "macro" }>>()
  readonly #around: Surroundings
  #out: string[] = []
  #length = 0
  #steps = 0
  #macroDepth = 0

  constructor(file: string, statements: readonly Statement[], environment: Surroundings["environment"]) {
    this.#file = file
    for (const statement of statements) if (statement.kind === "macro") this.#macros.set(statement.name, statement)
    this.#around = { environment, callMacro: (name, args) => this.#callMacro(name, args) }
  }

  /** What the statements print. */
  render(statements: readonly Statement[], scope: Scope): string {
    const outer = this.#out
    this.#out = []
    try {
      this.#run(statements, scope)
      return this.#out.join("")
    } finally {
      this.#out = outer
    }
  }

  #run(statements: readonly Statement[], scope: Scope): Outcome {
    for (const statement of statements) {
      const outcome = this.#located(statement, () => this.#one(statement, scope))
      if (outcome !== undefined) return outcome
    }
    return undefined
  }

  #one(statement: Statement, scope: Scope): Outcome {
    this.#step()
    switch (statement.kind) {
      case "text":
        return this.#write(statement.text)
      case "output":
        return this.#write(asText(evaluate(statement.value, scope, this.#around)))
      case "set": {
        const value = evaluate(statement.value, scope, this.#around)
        if (statement.global) scope.setGlobal(statement.name, value)
        else scope.set(statement.name, value)
        return undefined
      }
      case "if": {
        const chosen = statement.branches.find(({ condition }) => isTrue(condition, scope, this.#around))
        return this.#run(chosen?.body ?? statement.otherwise, scope)
      }
      case "for":
        return this.#for(statement, scope)
      case "filter": {
        const filter = Object.hasOwn(filters, statement.name) ? filters[statement.name] : undefined
        if (filter === undefined) throw new Error(`there is no filter "${statement.name}"`)
        const args = Object.entries(statement.args).map(([name, of]) => [name, evaluate(of, scope, this.#around)])
        return this.#write(asText(filter(this.render(statement.body, scope), Object.fromEntries(args) as Arguments)))
      }
      case "block":
        return this.#run(statement.body, scope)
      case "macro":
        return undefined
      case "break":
      case "continue":
        return statement.kind
    }
  }

  #for(statement: Extract<Statement, { kind: "for" }>, scope: Scope): Outcome {
    const items = turns(evaluate(statement.items, scope, this.#around), statement.key !== undefined)
    if (items.length === 0) return this.#run(statement.otherwise, scope)
    for (const [index, { key, value }] of items.entries()) {
      const loop = { index: index + 1, index0: index, first: index === 0, last: index === items.length - 1 }
      const own: Record<string, Value> = { loop, [statement.item]: value }
      if (statement.key !== undefined) own[statement.key] = key
      this.#step()
      if (this.#run(statement.body, new Scope(own, scope)) === "break") break
    }
    return undefined
  }

  #step(): void {
    if (++this.#steps > maxSteps) throw new Error(`more than ${maxSteps} steps`)
  }

  #callMacro(name: string, args: Arguments): string {
    const macro = this.#macros.get(name)
    if (macro === undefined) throw new Error(`there is no macro "${name}"`)
    const names: Record<string, Value> = {}
    const empty = new Scope({})
    for (const [parameter, fallback] of macro.parameters) {
      const given = args[parameter] ?? (fallback && evaluate(fallback, empty, this.#around))
      if (given === undefined) throw new Error(`macro "${name}" needs the argument "${parameter}"`)
      names[parameter] = given
    }
    if (++this.#macroDepth > maxMacroDepth)
      throw new Error(`macros call each other deeper than ${maxMacroDepth} levels`)
    const text = this.render(macro.body, new Scope(names))
    this.#macroDepth--
    return text
  }

  #write(text: string): undefined {
    this.#length += text.length
    if (this.#length > maxRenderedLength) {
      throw new AppError("config-template", `${this.#file} becomes longer than ${maxRenderedLength} characters`, {
        next: "Let its loops end sooner.",
      })
    }
    this.#out.push(text)
  }

  #located<T>(statement: Statement, run: () => T): T {
    try {
      return run()
    } catch (thrown) {
      if (thrown instanceof AppError && thrown.code === "config-template") throw thrown
      throw templateError(this.#file, statement.line, errorText(thrown))
    }
  }
}

/** What a loop goes through: items of a list, characters of a text, or keys and values of an object. */
function turns(items: Value, keyed: boolean): { key: string; value: Value }[] {
  if (isObject(items) && keyed) return Object.entries(items).map(([key, value]) => ({ key, value }))
  if (keyed) throw new Error('"for KEY, VALUE" needs an object')
  if (typeof items === "string") return [...items].map((value) => ({ key: "", value }))
  if (Array.isArray(items)) return items.map((value) => ({ key: "", value }))
  throw new Error('"for" needs a list')
}
