/*
 * Regular expressions as Rust writes them, in JavaScript's spelling: flags in the middle, named groups, ends of the text,
 * classes inside classes, POSIX classes, single-letter properties.
 */

const posixClasses: Readonly<Record<string, string>> = {
  alnum: "0-9A-Za-z",
  alpha: "A-Za-z",
  ascii: "\\x00-\\x7F",
  blank: "\\t ",
  cntrl: "\\x00-\\x1F\\x7F",
  digit: "0-9",
  graph: "!-~",
  lower: "a-z",
  print: " -~",
  punct: "!-\\/:-@\\[-`\\{-~",
  space: "\\s",
  upper: "A-Z",
  word: "\\w",
  xdigit: "0-9A-Fa-f",
}

/** Classes that hold others, or less than others: JavaScript knows them with the flag "v" only. */
const setForm = /\[[^\]]*?(?:&&|--|\[(?!:\w)|\[:\^)/
const unicodeForm = /\\[pP]|\\x\{/
/** Escapes that mean something in JavaScript when they are not letters or digits. */
const syntaxCharacters = "^$\\.*+?()[]{}|/-"

/** @throws SyntaxError, Error */
export function javascriptPattern(source: string, flags: ReadonlySet<string>): RegExp {
  const sets = setForm.test(source)
  const unicode = sets || unicodeForm.test(source)
  const translation = new Translation(source, sets, unicode).whole()
  return new RegExp(translation, [...flags, sets ? "v" : unicode ? "u" : ""].join(""))
}

class Translation {
  readonly #source: string
  readonly #sets: boolean
  readonly #unicode: boolean
  #out = ""
  /** For each open group: the flags that were set inside it, each a group of its own in JavaScript. */
  readonly #groups: string[][] = [[]]

  constructor(source: string, sets: boolean, unicode: boolean) {
    this.#source = source
    this.#sets = sets
    this.#unicode = unicode
  }

  whole(): string {
    for (let at = 0; at < this.#source.length; ) at = this.#one(at)
    this.#closeFlags()
    return this.#out
  }

  /** Translates what begins at `at`; where the next thing begins. */
  #one(at: number): number {
    const character = this.#source[at]!
    switch (character) {
      case "\\":
        return this.#escape(at, false)
      case "[":
        return this.#class(at)
      case "(":
        return this.#group(at)
      case ")":
        this.#closeFlags()
        if (this.#groups.length > 1) this.#groups.pop()
        break
      case "|":
        // Flags hold for the alternatives behind them, too.
        this.#closeFlags()
        this.#out += "|"
        for (const flags of this.#groups.at(-1)!) this.#out += `(?${flags}:`
        return at + 1
    }
    this.#out += character
    return at + 1
  }

  #closeFlags(): void {
    this.#out += ")".repeat(this.#groups.at(-1)!.length)
  }

  #group(at: number): number {
    const rest = this.#source.slice(at)
    const reference = /^\(\?P=(\w+)\)/.exec(rest)
    if (reference !== null) {
      this.#out += `\\k<${reference[1]}>`
      return at + reference[0].length
    }
    const flags = /^\(\?([a-zA-Z]*(?:-[a-zA-Z]+)?)([:)])/.exec(rest)
    if (flags !== null && flags[1] !== "") {
      const known = flags[1]!.replaceAll("u", "")
      if (/[^ims-]/.test(known)) throw new Error(`the flags "${flags[1]}" are not known here`)
      const opening = known === "" || known === "-" ? "" : known
      if (flags[2] === ")") this.#groups.at(-1)!.push(opening)
      else this.#groups.push([])
      this.#out += `(?${opening}:`
      return at + flags[0].length
    }
    this.#groups.push([])
    const [opening] = /^\((?:\?P?<(?![=!])|\?<?[=!:]|\?>)?/.exec(rest)!
    if (opening === "(?>") throw new Error("groups that are never given back (?>…) are not known here")
    this.#out += opening.replace("?P<", "?<")
    return at + opening.length
  }

  #class(at: number): number {
    let next = at + 1
    this.#out += "["
    if (this.#source[next] === "^") this.#out += this.#source[next++]
    if (this.#source[next] === "]") {
      this.#out += "\\]"
      next++
    }
    let operand = this.#out.length
    let hasOperator = false
    // What stands beside an operator of sets is a class of its own in JavaScript.
    const wrap = () => {
      this.#out = `${this.#out.slice(0, operand)}[${this.#out.slice(operand)}]`
    }
    while (next < this.#source.length && this.#source[next] !== "]") {
      const operator = this.#sets ? /^(?:&&|--)/.exec(this.#source.slice(next))?.[0] : undefined
      if (operator === undefined) next = this.#inClass(next)
      else {
        wrap()
        this.#out += operator
        operand = this.#out.length
        hasOperator = true
        next += operator.length
      }
    }
    if (hasOperator) wrap()
    if (next >= this.#source.length) throw new Error("missing terminating ] for character class")
    this.#out += "]"
    return next + 1
  }

  #inClass(at: number): number {
    const character = this.#source[at]!
    if (character === "\\") return this.#escape(at, true)
    const posix = /^\[:(\^?)(\w+):\]/.exec(this.#source.slice(at))
    if (posix !== null) {
      const [whole, negation, name = ""] = posix
      const content = posixClasses[name]
      if (content === undefined) throw new Error(`there is no class "${name}"`)
      this.#out += this.#sets ? `[${negation}${content}]` : content
      return at + whole.length
    }
    if (character === "[") return this.#class(at)
    this.#out += this.#sets && "(){}/|".includes(character) ? `\\${character}` : character
    return at + 1
  }

  #escape(at: number, isInClass: boolean): number {
    const rest = this.#source.slice(at)
    const [whole, what = "", code] = /^\\(x\{([0-9A-Fa-f]+)\}|[pP][A-Z]|[\s\S]|$)/.exec(rest)!
    if (code !== undefined) this.#out += `\\u{${code}}`
    else if (/^[pP][A-Z]$/.test(what)) this.#out += `\\${what[0]}{${what[1]}}`
    else if (what === "A" && !isInClass) this.#out += "^"
    else if (what === "z" && !isInClass) this.#out += "$"
    else if (this.#unicode && /^[^A-Za-z0-9]$/.test(what) && !syntaxCharacters.includes(what)) this.#out += what
    else if (this.#unicode && what === "-" && !isInClass) this.#out += what
    else this.#out += whole
    return at + whole.length
  }
}
