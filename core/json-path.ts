import { AppError } from "./errors.ts"

/** A query as RFC 9535 has it. */
export interface Query {
  /** `$…` or `@…`. */
  fromRoot: boolean
  segments: Segment[]
}

export interface Segment {
  descendants: boolean
  selectors: Selector[]
}

export type Selector =
  | { kind: "name"; name: string }
  | { kind: "wildcard" }
  | { kind: "index"; index: number }
  | { kind: "slice"; start: number | undefined; end: number | undefined; step: number }
  | { kind: "filter"; test: Test }

export type Test =
  | { kind: "or" | "and"; tests: Test[] }
  | { kind: "not"; test: Test }
  | { kind: "exists"; query: Query }
  | { kind: "compare"; operator: string; left: Comparable; right: Comparable }
  | { kind: "match"; whole: boolean; text: Comparable; pattern: Comparable }

export type Comparable =
  | { kind: "literal"; value: unknown }
  | { kind: "query" | "value" | "count" | "typeof"; query: Query }
  | { kind: "length"; of: Comparable }

const maxNesting = 50
const maxLength = 8192

/** @throws AppError "bad-json-path" */
export function parseJsonPath(source: string): Query {
  if (source.length > maxLength)
    throw new AppError("bad-json-path", `the JSONPath is longer than ${maxLength} characters`)
  const parser = new Parser(source)
  return parser.whole()
}

class Parser {
  readonly #source: string
  #at = 0
  #depth = 0

  constructor(source: string) {
    this.#source = source
  }

  whole(): Query {
    if (!this.#take("$")) throw this.#fault("must begin with $")
    const segments = this.#segments()
    if (this.#at < this.#source.length) throw this.#fault("cannot be read")
    return { fromRoot: true, segments }
  }

  #fault(why: string): AppError {
    const next = "Correct the filter's query; it follows RFC 9535."
    return new AppError("bad-json-path", `the JSONPath "${this.#source}" ${why} (at character ${this.#at + 1})`, {
      next,
    })
  }

  #take(text: string): boolean {
    if (!this.#source.startsWith(text, this.#at)) return false
    this.#at += text.length
    return true
  }

  #match(pattern: RegExp): RegExpExecArray | null {
    pattern.lastIndex = this.#at
    const found = pattern.exec(this.#source)
    if (found) this.#at = pattern.lastIndex
    return found
  }

  #space(): void {
    this.#match(/[ \t\r\n]*/y)
  }

  #expect(text: string): void {
    this.#space()
    if (!this.#take(text)) throw this.#fault(`lacks a ${text}`)
  }

  #segments(): Segment[] {
    const segments: Segment[] = []
    for (;;) {
      const start = this.#at
      this.#space()
      const descendants = this.#take("..")
      const dotted = !descendants && this.#take(".")
      if (this.#take("[")) {
        if (dotted) throw this.#fault("has a [ behind a dot")
        segments.push({ descendants, selectors: this.#bracketed() })
      } else if (descendants || dotted) segments.push({ descendants, selectors: [this.#shorthand()] })
      else {
        this.#at = start
        return segments
      }
    }
  }

  #shorthand(): Selector {
    if (this.#take("*")) return { kind: "wildcard" }
    const name = this.#match(/[A-Za-z_\u0080-\uffff][\w\u0080-\uffff]*/y)
    if (!name) throw this.#fault("lacks a name behind a dot")
    return { kind: "name", name: name[0] }
  }

  #bracketed(): Selector[] {
    const selectors: Selector[] = []
    do {
      this.#space()
      selectors.push(this.#selector())
      this.#space()
    } while (this.#take(","))
    this.#expect("]")
    return selectors
  }

  #selector(): Selector {
    const name = this.#string()
    if (name !== undefined) return { kind: "name", name }
    if (this.#take("*")) return { kind: "wildcard" }
    if (this.#take("?")) return { kind: "filter", test: this.#or() }
    const slice = this.#match(/(-?\d+)?[ \t\r\n]*:[ \t\r\n]*(-?\d+)?[ \t\r\n]*(?::[ \t\r\n]*(-?\d+)?)?/y)
    if (slice) {
      const number = (text: string | undefined) => (text === undefined ? undefined : Number(text))
      return { kind: "slice", start: number(slice[1]), end: number(slice[2]), step: number(slice[3]) ?? 1 }
    }
    const index = this.#match(/-?\d+/y)
    if (!index) throw this.#fault("has a selector that cannot be read")
    return { kind: "index", index: Number(index[0]) }
  }

  #string(): string | undefined {
    const found = this.#match(/"((?:[^"\\]|\\.)*)"|'((?:[^'\\]|\\.)*)'/y)
    if (!found) return undefined
    const json = found[1] ?? found[2]!.replace(/\\'|"/g, (text) => (text === '"' ? '\\"' : "'"))
    try {
      return JSON.parse(`"${json}"`)
    } catch {
      throw this.#fault("has a text with a wrong escape")
    }
  }

  #or(): Test {
    if (++this.#depth > maxNesting) throw this.#fault(`is nested deeper than ${maxNesting}`)
    const tests = [this.#and()]
    for (this.#space(); this.#take("||"); this.#space()) tests.push(this.#and())
    this.#depth--
    return tests.length === 1 ? tests[0]! : { kind: "or", tests }
  }

  #and(): Test {
    const tests = [this.#basic()]
    for (this.#space(); this.#take("&&"); this.#space()) tests.push(this.#basic())
    return tests.length === 1 ? tests[0]! : { kind: "and", tests }
  }

  #basic(): Test {
    this.#space()
    if (this.#match(/!(?!=)/y)) return { kind: "not", test: this.#basic() }
    if (this.#take("(")) {
      const test = this.#or()
      this.#expect(")")
      return test
    }
    const matcher = this.#match(/(match|search)\(/y)
    if (matcher) return this.#matcher(matcher[1] === "match")
    const left = this.#comparable()
    this.#space()
    const operator = this.#match(/==|!=|<=|>=|<|>/y)
    if (operator) return { kind: "compare", operator: operator[0], left, right: this.#comparable() }
    if (left.kind !== "query") throw this.#fault("tests something that is neither a query nor a comparison")
    return { kind: "exists", query: left.query }
  }

  #matcher(whole: boolean): Test {
    const text = this.#comparable()
    this.#expect(",")
    const pattern = this.#comparable()
    this.#expect(")")
    return { kind: "match", whole, text, pattern }
  }

  #comparable(): Comparable {
    this.#space()
    const text = this.#string()
    if (text !== undefined) return { kind: "literal", value: text }
    const scalar = this.#match(/(?:true|false|null)\b|-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?/y)
    if (scalar) return { kind: "literal", value: JSON.parse(scalar[0]) }
    if (this.#take("length(")) {
      const of = this.#comparable()
      this.#expect(")")
      return { kind: "length", of }
    }
    const functionName = this.#match(/(count|value|typeof)\(/y)
    if (!functionName) return { kind: "query", query: this.#query() }
    this.#space()
    const query = this.#query()
    this.#expect(")")
    return { kind: functionName[1] as "count", query }
  }

  #query(): Query {
    const fromRoot = this.#take("$")
    if (!fromRoot && !this.#take("@")) throw this.#fault("has an expression that cannot be read")
    return { fromRoot, segments: this.#segments() }
  }
}
