import { AppError } from "../../../../core/errors.ts"
import { type CharSet, classes, foldCase, negated, posixClass, range, setOf, unicodeClass, union } from "./char-set.ts"

/** A regular expression as a tree. Laziness changes what a match is, not whether there is one. */
export type Node =
  | { kind: "set"; set: CharSet }
  | { kind: "sequence"; nodes: Node[] }
  | { kind: "choice"; nodes: Node[] }
  | { kind: "repeat"; node: Node; min: number; max: number; isLazy: boolean }
  | { kind: "assert"; what: "start" | "end" | "line-start" | "line-end" | "word" | "no-word" }
  | { kind: "look"; node: Node; behind: boolean; negate: boolean }
  | { kind: "group"; node: Node; index: number }
  | { kind: "back-reference"; index: number; ignoreCase: boolean }

interface Flags {
  i: boolean
  m: boolean
  s: boolean
  x: boolean
}

const maxPatternLength = 8192
const maxNesting = 100
const maxCount = 1000

export interface ParsedRegex {
  node: Node
  groups: number
  /** Numbers of the groups that have names. */
  names: ReadonlyMap<string, number>
}

/**
 * Reads the syntax of Rust's `regex` crate with the look-around and back-references of `fancy-regex`. Not known: atomic groups,
 * possessive repetition, conditionals, `\G`, `\K`, and class set operations (`&&`, `--`, `~~`).
 * @throws AppError "bad-regex"
 */
export function parseRegex(source: string, ignoreCase: boolean): ParsedRegex {
  if (source.length > maxPatternLength) throw bad(source, `is longer than ${maxPatternLength} characters`)
  const parser = new Parser(source, { i: ignoreCase, m: false, s: false, x: false })
  return parser.whole()
}

function bad(source: string, why: string): AppError {
  const shown = source.length > 80 ? `${source.slice(0, 80)}…` : source
  return new AppError("bad-regex", `the regular expression "${shown}" ${why}`, { next: "Correct the filter." })
}

class Parser {
  readonly #source: string
  #flags: Flags
  #at = 0
  #groups = 0
  #depth = 0
  readonly #names = new Map<string, number>()

  constructor(source: string, flags: Flags) {
    this.#source = source
    this.#flags = flags
  }

  whole(): ParsedRegex {
    const node = this.#choice()
    if (this.#at < this.#source.length) throw this.#fault("has an unmatched )")
    return { node, groups: this.#groups, names: this.#names }
  }

  #fault(why: string): AppError {
    return bad(this.#source, `${why} (at character ${this.#at + 1})`)
  }

  #peek(text: string): boolean {
    return this.#source.startsWith(text, this.#at)
  }

  #take(text: string): boolean {
    if (!this.#peek(text)) return false
    this.#at += text.length
    return true
  }

  /** The match of a sticky pattern here. */
  #match(pattern: RegExp): RegExpExecArray | null {
    pattern.lastIndex = this.#at
    const found = pattern.exec(this.#source)
    if (found) this.#at = pattern.lastIndex
    return found
  }

  #choice(): Node {
    if (++this.#depth > maxNesting) throw this.#fault(`is nested deeper than ${maxNesting}`)
    const outerFlags = this.#flags
    const nodes = [this.#sequence()]
    while (this.#take("|")) nodes.push(this.#sequence())
    this.#flags = outerFlags
    this.#depth--
    return nodes.length === 1 ? nodes[0]! : { kind: "choice", nodes }
  }

  #sequence(): Node {
    const nodes: Node[] = []
    for (;;) {
      if (this.#flags.x) this.#match(/(?:\s|#[^\n]*(?:\n|$))*/y)
      if (this.#at >= this.#source.length || this.#peek("|") || this.#peek(")")) return { kind: "sequence", nodes }
      const atom = this.#atom()
      if (atom) nodes.push(this.#repeated(atom))
    }
  }

  #repeated(node: Node): Node {
    if (this.#flags.x) this.#match(/\s*/y)
    const found = this.#match(/[*+?]|\{(\d+)(?:(,)(\d*))?\}/y)
    if (!found) return node
    const [text, min, comma, max] = found
    const counts: Record<string, [number, number]> = { "*": [0, Infinity], "+": [1, Infinity], "?": [0, 1] }
    const [from, to] = counts[text] ?? [Number(min), max ? Number(max) : comma ? Infinity : Number(min)]
    if (from > to || from > maxCount || (to !== Infinity && to > maxCount)) {
      throw this.#fault(`repeats in a way that is not possible (at most ${maxCount} times)`)
    }
    const isLazy = this.#take("?")
    if (this.#peek("+")) throw this.#fault("uses possessive repetition, which is not known here")
    return this.#repeated({ kind: "repeat", node, min: from, max: to, isLazy })
  }

  /** Undefined for what matches nothing by itself, such as `(?i)`. */
  #atom(): Node | undefined {
    if (this.#take("(")) return this.#group()
    if (this.#take("[")) return this.#set(this.#bracket())
    if (this.#take(".")) return { kind: "set", set: this.#flags.s ? anything : notNewline }
    if (this.#take("^")) return { kind: "assert", what: this.#flags.m ? "line-start" : "start" }
    if (this.#take("$")) return { kind: "assert", what: this.#flags.m ? "line-end" : "end" }
    if (this.#take("\\")) return this.#escape()
    if (this.#match(/[*+?]/y)) throw this.#fault("repeats nothing")
    return this.#set(single(this.#source.charCodeAt(this.#at++)))
  }

  #set(set: CharSet): Node {
    return { kind: "set", set: this.#flags.i ? foldCase(set) : set }
  }

  #group(): Node | undefined {
    const look = this.#match(/\?(<?)([=!])/y)
    if (look)
      return this.#closed({ kind: "look", node: this.#choice(), behind: look[1] === "<", negate: look[2] === "!" })
    const flags = this.#match(/\?([imsxuUR]*)(?:-([imsxuUR]+))?([:)])/y)
    if (flags) return this.#flagged(flags[1] ?? "", flags[2] ?? "", flags[3] === ":")
    const named = this.#match(/\?P?<([A-Za-z_][A-Za-z0-9_.[\]]*)>/y)
    if (!named && this.#peek("?")) throw this.#fault("has a group of a kind that is not known here")
    const index = ++this.#groups
    if (named) this.#names.set(named[1]!, index)
    return this.#closed({ kind: "group", node: this.#choice(), index })
  }

  #flagged(on: string, off: string, scoped: boolean): Node | undefined {
    const changed = { ...this.#flags }
    for (const flag of ["i", "m", "s", "x"] as const) {
      if (on.includes(flag)) changed[flag] = true
      if (off.includes(flag)) changed[flag] = false
    }
    const outer = this.#flags
    this.#flags = changed
    if (!scoped) return undefined
    const node = this.#closed(this.#choice())
    this.#flags = outer
    return node
  }

  #closed(node: Node): Node {
    if (!this.#take(")")) throw this.#fault("has an unmatched (")
    return node
  }

  #escape(): Node {
    const boundary = this.#match(/[AzZbB]/y)?.[0]
    if (boundary) return { kind: "assert", what: boundaries[boundary as keyof typeof boundaries] }
    const number = this.#match(/[1-9]\d?/y)
    if (number) return this.#backReference(Number(number[0]))
    const name = this.#match(/k<([^>]+)>/y)
    if (name) return this.#backReference(this.#names.get(name[1]!) ?? 0)
    return this.#set(this.#escapedSet())
  }

  #backReference(index: number): Node {
    if (index < 1 || index > this.#groups) throw this.#fault("refers to a group that does not exist")
    return { kind: "back-reference", index, ignoreCase: this.#flags.i }
  }

  /** What stands behind a backslash, as a set; the same inside and outside of brackets. */
  #escapedSet(): CharSet {
    const value = this.#escaped()
    return typeof value === "number" ? single(value) : value
  }

  #escaped(): CharSet | number {
    const letter = this.#match(/[dDwWsS]/y)?.[0]
    if (letter) return letter < "a" ? negated(classes[letter.toLowerCase() as "d"]) : classes[letter as "d"]
    const property = this.#match(/([pP])(?:\{(\^?)([\w=]+)\}|(\w))/y)
    if (property) return this.#property(property)
    const code = this.#match(/x([0-9A-Fa-f]{2})|u([0-9A-Fa-f]{4})|[xuU]\{([0-9A-Fa-f]{1,6})\}/y)
    if (code) return this.#unit(Number.parseInt(code[1] ?? code[2] ?? code[3]!, 16))
    const control = this.#match(/[nrtfv0ae]/y)?.[0]
    if (control) return controls[control as keyof typeof controls]
    const plain = this.#match(/[^0-9A-Za-z]/y)?.[0]
    if (plain === undefined) throw this.#fault("has an escape that is not known here")
    return plain.charCodeAt(0)
  }

  #unit(code: number): number {
    if (code > 0xffff) throw this.#fault("names a character beyond U+FFFF")
    return code
  }

  #property([, letter, caret, long, short]: RegExpExecArray): CharSet {
    const set = unicodeClass(long ?? short!)
    if (!set) throw this.#fault("names a Unicode property that is not known")
    return (letter === "P") !== (caret === "^") ? negated(set) : set
  }

  #bracket(): CharSet {
    const negate = this.#take("^")
    const sets: CharSet[] = []
    if (this.#take("]")) sets.push(single(0x5d))
    while (!this.#take("]")) {
      if (this.#at >= this.#source.length) throw this.#fault("has an unmatched [")
      if (this.#match(/&&|--|~~/y)) throw this.#fault("uses class set operations, which are not known here")
      sets.push(this.#bracketItem())
    }
    // Folded before it is negated: [^a] with (?i) excludes A, too.
    const set = this.#flags.i ? foldCase(union(sets)) : union(sets)
    return negate ? negated(set) : set
  }

  #bracketItem(): CharSet {
    const posix = this.#match(/\[:(\^?)(\w+):\]/y)
    if (posix) {
      const set = posixClass(posix[2]!)
      if (!set) throw this.#fault("names a class that is not known")
      return posix[1] ? negated(set) : set
    }
    if (this.#take("[")) return this.#bracket()
    const from = this.#bracketEnd()
    if (typeof from !== "number" || !this.#match(/-(?!\])/y)) return typeof from === "number" ? single(from) : from
    const to = this.#bracketEnd()
    if (typeof to !== "number" || to < from) throw this.#fault("has a range that goes nowhere")
    return range(from, to)
  }

  /** A single unit, or the set an escape such as `\d` stands for. */
  #bracketEnd(): number | CharSet {
    if (!this.#take("\\")) return this.#source.charCodeAt(this.#at++)
    return this.#take("b") ? 0x08 : this.#escaped()
  }
}

const single = (unit: number): CharSet => setOf((other) => other === unit)
const anything = setOf(() => true)
const notNewline = setOf((unit) => unit !== 0x0a)
const boundaries = { A: "start", z: "end", Z: "end", b: "word", B: "no-word" } as const
const controls = { n: 10, r: 13, t: 9, f: 12, v: 11, "0": 0, a: 7, e: 27 } as const
