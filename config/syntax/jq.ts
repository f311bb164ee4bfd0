/** How deep a program may nest before it is not looked at any more. */
const maxNesting = 200

const token =
  /\s*(?:#[^\n]*\s*)*(?:(\$__loc__|\$?[A-Za-z_]\w*(?:::\w+)*)|(@[A-Za-z]\w*)|(\.[A-Za-z_]\w*)|(\d+(?:\.\d*)?(?:[eE][+-]?\d+)?|\.\d+(?:[eE][+-]?\d+)?)|(\?\/\/=?|\/\/=|\/\/|\|=|[-+*/%=!<>]=|\.\.|[.[\](){}|,:;=<>+\-*/%?])|(")|($))/y

type Kind = "word" | "format" | "field" | "number" | "sign" | "quote" | "end"
const kinds: readonly Kind[] = ["word", "format", "field", "number", "sign", "quote", "end"]

const operators = new Set("| , // or and == != < <= > >= + - * / % = |= += -= *= /= %= //= ?// ?//=".split(" "))
/** Words that can only go on or end something. */
const followers = new Set(["then", "elif", "else", "end", "catch", "as", "or", "and", "__loc__"])

/**
 * What is wrong with a jq program as a text, or undefined. Only the grammar of jq 1.7 is looked at: whether its
 * functions and variables exist is not, because that depends on who runs it.
 */
export function jqProblem(source: string): string | undefined {
  try {
    new Reader(source).program()
    return undefined
  } catch (thrown) {
    if (thrown instanceof Fault) return thrown.message
    throw thrown
  }
}

class Fault extends Error {}

/** Reads the grammar's productions one by one and forgets them. */
class Reader {
  readonly #source: string
  #at = 0
  #kind: Kind = "end"
  #text = ""
  #depth = 0

  constructor(source: string) {
    this.#source = source
    this.#read()
  }

  program(): void {
    this.#pipe()
    if (!this.#is("end")) throw this.#fault()
  }

  #pipe(): void {
    if (++this.#depth > maxNesting) throw new Fault(`it nests deeper than ${maxNesting} levels`)
    while (this.#word("def")) this.#definition()
    this.#operand()
    while ((this.#is("sign") || this.#is("word")) && operators.has(this.#text)) {
      this.#read()
      while (this.#word("def")) this.#definition()
      this.#operand()
    }
    this.#depth--
  }

  #definition(): void {
    this.#name()
    if (this.#sign("(")) {
      do this.#name()
      while (this.#sign(";"))
      this.#expect(")")
    }
    this.#expect(":")
    this.#pipe()
    this.#expect(";")
  }

  #operand(): void {
    while (this.#sign("-"));
    if (this.#word("reduce") || this.#word("foreach")) {
      this.#term()
      this.#expectWord("as")
      this.#patterns()
      this.#expect("(")
      this.#several(";")
      this.#expect(")")
    } else this.#term()
    if (!this.#word("as")) return
    this.#patterns()
    this.#expect("|")
    this.#pipe()
  }

  #term(): void {
    this.#primary()
    for (;;) {
      if (this.#is("field")) this.#read()
      else if (this.#sign("?")) continue
      else if (this.#sign("[")) this.#subscript()
      else if (this.#is("sign") && this.#text === ".") {
        this.#read()
        if (this.#is("quote")) this.#string()
        else if (this.#sign("[")) this.#subscript()
        else throw this.#fault()
      } else return
    }
  }

  #primary(): void {
    if (this.#is("quote")) this.#string()
    else if (this.#is("field") || this.#is("number")) this.#read()
    else if (this.#is("format")) {
      this.#read()
      if (this.#is("quote")) this.#string()
    } else if (this.#is("word")) this.#wordTerm()
    else if (this.#sign("..")) return
    else if (this.#sign(".")) {
      if (this.#is("quote")) this.#string()
    } else if (this.#sign("(")) {
      this.#pipe()
      this.#expect(")")
    } else if (this.#sign("[")) {
      if (this.#sign("]")) return
      this.#pipe()
      this.#expect("]")
    } else if (this.#sign("{")) this.#object()
    else throw this.#fault()
  }

  #wordTerm(): void {
    if (followers.has(this.#text)) throw this.#fault()
    if (this.#word("if")) {
      do {
        this.#pipe()
        this.#expectWord("then")
        this.#pipe()
      } while (this.#word("elif"))
      if (this.#word("else")) this.#pipe()
      this.#expectWord("end")
    } else if (this.#word("try")) {
      this.#operandOfTry()
      if (this.#word("catch")) this.#operandOfTry()
    } else if (this.#word("label")) {
      this.#variable()
      this.#expect("|")
      this.#pipe()
    } else if (this.#word("break")) this.#variable()
    else {
      const isVariable = this.#text.startsWith("$")
      this.#read()
      if (isVariable || !this.#sign("(")) return
      this.#several(";")
      this.#expect(")")
    }
  }

  #operandOfTry(): void {
    while (this.#sign("-"));
    this.#term()
  }

  /** Pipes with signs between them. */
  #several(between: string): void {
    do this.#pipe()
    while (this.#sign(between))
  }

  #subscript(): void {
    if (this.#sign("]")) return
    if (!this.#sign(":")) {
      this.#pipe()
      if (!this.#sign(":")) {
        this.#expect("]")
        return
      }
    }
    if (this.#sign("]")) return
    this.#pipe()
    this.#expect("]")
  }

  #object(): void {
    while (!this.#sign("}")) {
      const mayStandAlone = this.#key()
      if (this.#sign(":")) {
        do this.#operandOfObject()
        while (this.#sign("|"))
      } else if (!mayStandAlone) throw this.#fault()
      if (!(this.#is("sign") && this.#text === "}")) this.#expect(",")
    }
  }

  /** No comma may stand in a value that is not in parentheses. */
  #operandOfObject(): void {
    this.#operand()
    while ((this.#is("sign") || this.#is("word")) && operators.has(this.#text)) {
      if (this.#text === "," || this.#text === "|") return
      this.#read()
      this.#operand()
    }
  }

  /** Whether its value may be left out. */
  #key(): boolean {
    if (this.#sign("(")) {
      this.#pipe()
      this.#expect(")")
      return false
    }
    if (this.#is("quote")) this.#string()
    else if (this.#is("format")) {
      this.#read()
      if (this.#is("quote")) this.#string()
    } else if (this.#is("word") || this.#is("number")) this.#read()
    else throw this.#fault()
    return true
  }

  #patterns(): void {
    do this.#pattern()
    while (this.#sign("?//"))
  }

  #pattern(): void {
    if (++this.#depth > maxNesting) throw new Fault(`it nests deeper than ${maxNesting} levels`)
    if (this.#sign("[")) {
      do this.#pattern()
      while (this.#sign(","))
      this.#expect("]")
    } else if (this.#sign("{")) {
      do {
        const isVariable = this.#is("word") && this.#text.startsWith("$")
        this.#key()
        if (this.#sign(":")) this.#pattern()
        else if (!isVariable) throw this.#fault()
      } while (this.#sign(","))
      this.#expect("}")
    } else this.#variable()
    this.#depth--
  }

  /** A text with `\(…)` in it; the current token is its opening quote. */
  #string(): void {
    for (;;) {
      const character = this.#source[this.#at++]
      if (character === undefined) throw new Fault("a text has no end")
      if (character === '"') break
      if (character !== "\\") continue
      const escaped = this.#source[this.#at++]
      if (escaped === "(") {
        this.#read()
        this.#pipe()
        // What follows the closing parenthesis is text again, so no token is read there.
        if (!this.#is("sign") || this.#text !== ")") throw this.#fault()
      } else if (!/["\\/bfnrtu]/.test(escaped ?? "")) throw new Fault(`a text has the escape "\\${escaped ?? ""}"`)
    }
    this.#read()
  }

  #variable(): void {
    if (!this.#is("word") || !this.#text.startsWith("$")) throw this.#fault()
    this.#read()
  }

  #name(): void {
    if (!this.#is("word")) throw this.#fault()
    this.#read()
  }

  /** A call, because reading changes the token behind the compiler's back. */
  #is(kind: Kind): boolean {
    return this.#kind === kind
  }

  #sign(text: string): boolean {
    if (!this.#is("sign") || this.#text !== text) return false
    this.#read()
    return true
  }

  #word(text: string): boolean {
    if (!this.#is("word") || this.#text !== text) return false
    this.#read()
    return true
  }

  #expect(text: string): void {
    if (!this.#sign(text)) throw this.#fault(text)
  }

  #expectWord(text: string): void {
    if (!this.#word(text)) throw this.#fault(text)
  }

  #read(): void {
    token.lastIndex = this.#at
    const found = token.exec(this.#source)
    if (found === null) throw new Fault(`"${this.#source.slice(this.#at).trim()[0]}" cannot be read`)
    this.#at = token.lastIndex
    const index = kinds.findIndex((_, at) => found[at + 1] !== undefined)
    this.#kind = kinds[index]!
    this.#text = found[index + 1]!
  }

  #fault(wanted?: string): Fault {
    const here = this.#is("end") ? "it ends too early" : `"${this.#text}" is not expected`
    return new Fault(wanted === undefined ? here : `${here}; "${wanted}" is`)
  }
}
