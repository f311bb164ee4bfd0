import { AppError } from "../../core/errors.ts"

/** A piece of a template: plain text, the inside of `{{ }}`, or the inside of `{% %}`. */
export interface Piece {
  kind: "text" | "output" | "tag"
  content: string
  /** Where it stands, for errors. */
  line: number
}

const marks = { "{{": "}}", "{%": "%}", "{#": "#}" } as const

/** Cuts a template into pieces; comments vanish, `-` beside a mark eats the white space there, raw blocks are text. */
export function pieces(template: string, file: string): Piece[] {
  const out: Piece[] = []
  let at = 0
  let trimNext = false
  const add = (kind: Piece["kind"], content: string) => {
    if (content !== "") out.push({ kind, content, line: template.slice(0, at).split("\n").length })
  }
  const addText = (text: string, trimEnd: boolean) => {
    const start = trimNext ? text.trimStart() : text
    add("text", trimEnd ? start.trimEnd() : start)
    trimNext = false
  }
  for (;;) {
    const open = /\{[{%#]/.exec(template.slice(at))
    if (open === null) break
    const from = at + open.index
    const mark = open[0] as keyof typeof marks
    const end = closing(template, from, mark, file)
    const dashes = { start: template[from + 2] === "-", end: template[end - 1] === "-" && end - 1 > from + 2 }
    addText(template.slice(at, from), dashes.start)
    at = from
    const inside = template.slice(from + 2 + Number(dashes.start), end - Number(dashes.end)).trim()
    if (inside === "raw" && mark === "{%") {
      trimNext = dashes.end
      const raw = rawBlock(template, end + 2, file)
      // Marks in it are text, so what is between them is not looked at.
      addText(raw.text, raw.trimEnd)
      trimNext = raw.trimNext
      at = raw.end
      continue
    }
    if (mark !== "{#") add(mark === "{{" ? "output" : "tag", inside)
    at = end + 2
    trimNext = dashes.end
  }
  addText(template.slice(at), false)
  return out
}

/** Quotes may hold closing marks. */
function closing(template: string, from: number, mark: keyof typeof marks, file: string): number {
  let quote = ""
  for (let i = from + 2; i < template.length; i++) {
    const character = template[i]!
    if (quote !== "") {
      if (character === quote) quote = ""
    } else if (template.startsWith(marks[mark], i)) return i
    else if (mark !== "{#" && /["'`]/.test(character)) quote = character
  }
  throw templateError(file, template.slice(0, from).split("\n").length, `"${mark}" is never closed`)
}

interface RawBlock {
  text: string
  trimEnd: boolean
  trimNext: boolean
  /** Behind the tag that ends it. */
  end: number
}

function rawBlock(template: string, from: number, file: string): RawBlock {
  const end = /\{%(-?)\s*endraw\s*(-?)%\}/.exec(template.slice(from))
  if (end === null) throw templateError(file, template.slice(0, from).split("\n").length, '"raw" is never closed')
  const [tag, before, behind] = end
  const text = template.slice(from, from + end.index)
  return { text, trimEnd: before === "-", trimNext: behind === "-", end: from + end.index + tag.length }
}

export function templateError(file: string, line: number, what: string): AppError {
  return new AppError("config-template", `Cannot render ${file}:${line}: ${what}`, {
    next: "Write a literal {{ as {% raw %}{{{% endraw %}.",
  })
}
