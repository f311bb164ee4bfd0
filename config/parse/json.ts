import { AppError } from "../../core/errors.ts"

/** How deep a document may nest. */
export const maxDepth = 64

/**
 * Strict JSON, with line and column in errors and without repeated keys, which `JSON.parse` would let pass.
 * @throws AppError "config-syntax"
 */
export function parseJson(text: string, file: string): unknown {
  return new JsonReader(text, file).document()
}

const blank = /[ \t\r\n]*/y
const word = /[A-Za-z0-9+\-.]+/y
const numberForm = /^-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?$/

class JsonReader {
  readonly #text: string
  readonly #file: string
  #at = 0

  constructor(text: string, file: string) {
    this.#text = text
    this.#file = file
  }

  document(): unknown {
    const value = this.#value(0)
    this.#skipBlank()
    if (this.#at < this.#text.length) throw this.#error("there is more after the document")
    return value
  }

  #value(depth: number): unknown {
    if (depth > maxDepth) throw this.#error(`it nests deeper than ${maxDepth} levels`)
    this.#skipBlank()
    const first = this.#text[this.#at]
    if (first === "{") return this.#object(depth)
    if (first === "[") return this.#array(depth)
    if (first === '"') return this.#string()
    return this.#scalar()
  }

  #object(depth: number): Record<string, unknown> {
    const object: Record<string, unknown> = {}
    this.#items("}", () => {
      this.#skipBlank()
      const keyAt = this.#at
      if (this.#text[keyAt] !== '"') throw this.#error(`a key in double quotes is expected${this.#hint("}")}`)
      const key = this.#string()
      if (Object.hasOwn(object, key)) throw this.#error(`key "${key}" stands here a second time`, keyAt)
      this.#expect(":")
      // Not an assignment: "__proto__" must become a key like any other.
      Object.defineProperty(object, key, {
        value: this.#value(depth + 1),
        enumerable: true,
        writable: true,
        configurable: true,
      })
    })
    return object
  }

  #array(depth: number): unknown[] {
    const array: unknown[] = []
    this.#items("]", () => array.push(this.#value(depth + 1)))
    return array
  }

  /** What stands between the bracket at hand and `close`, separated by commas. */
  #items(close: string, item: () => void): void {
    this.#at++
    this.#skipBlank()
    if (this.#text[this.#at] === close) {
      this.#at++
      return
    }
    for (;;) {
      item()
      this.#skipBlank()
      const next = this.#text[this.#at]
      if (next !== "," && next !== close) throw this.#error(`"," or "${close}" is expected${this.#hint()}`)
      this.#at++
      if (next === close) return
    }
  }

  #string(): string {
    let end = this.#at + 1
    while (end < this.#text.length && this.#text[end] !== '"' && this.#text[end] !== "\n") {
      end += this.#text[end] === "\\" ? 2 : 1
    }
    const raw = this.#text.slice(this.#at, end + 1)
    try {
      const value = JSON.parse(raw)
      this.#at = end + 1
      return value
    } catch {
      throw this.#error("this is not a whole text in double quotes")
    }
  }

  #scalar(): unknown {
    word.lastIndex = this.#at
    const found = word.exec(this.#text)?.[0] ?? ""
    const known = found === "true" || found === "false" || found === "null" || numberForm.test(found)
    if (!known) throw this.#error(found === "" ? `a value is expected${this.#hint("]")}` : `"${found}" is no value`)
    this.#at += found.length
    return JSON.parse(found)
  }

  #expect(character: string): void {
    this.#skipBlank()
    if (this.#text[this.#at] !== character) throw this.#error(`"${character}" is expected`)
    this.#at++
  }

  #skipBlank(): void {
    blank.lastIndex = this.#at
    blank.exec(this.#text)
    this.#at = blank.lastIndex
  }

  /** What other dialects allow here and JSON does not. */
  #hint(close?: string): string {
    const here = this.#text.slice(this.#at, this.#at + 2)
    if (here === "//" || here === "/*") return "; JSON has no comments"
    return close !== undefined && here[0] === close ? `; no comma may stand before "${close}"` : ""
  }

  #error(what: string, at = this.#at): AppError {
    const before = this.#text.slice(0, at).split("\n")
    return syntaxError(this.#file, `${before.length}:${before.at(-1)!.length + 1}`, what)
  }
}

export function syntaxError(file: string, place: string, what: string): AppError {
  return new AppError("config-syntax", `Cannot read ${file}${place === "" ? "" : `:${place}`}: ${what}`, {
    next: "Correct it; `podside verify-config` reads a file without starting anything.",
  })
}
