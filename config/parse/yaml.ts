import { LineCounter, parseDocument } from "yaml"
import { AppError, errorText } from "../../core/errors.ts"
import { maxDepth, syntaxError } from "./json.ts"

/** How often anchors may be used, all repetitions counted; against documents that unfold to gigabytes. */
const maxAliases = 100
/** Values of one document, after unfolding its anchors. */
const maxValues = 100_000

/** More brackets open at once than this are refused unread: the parser's time grows with their square. */
const maxOpenBrackets = 500

/** One YAML 1.2 document without repeated keys. @throws AppError "config-syntax" */
export function parseYaml(text: string, file: string): unknown {
  refuseBrackets(text, file)
  const lines = new LineCounter()
  try {
    const document = parseDocument(text, {
      lineCounter: lines,
      prettyErrors: false,
      uniqueKeys: true,
      logLevel: "silent",
    })
    const first = document.errors[0]
    if (first !== undefined) {
      const { line, col } = lines.linePos(first.pos[0])
      throw syntaxError(file, `${line}:${col}`, first.message)
    }
    const value = document.toJS({ maxAliasCount: maxAliases })
    checkSize(value, file)
    return value
  } catch (thrown) {
    if (thrown instanceof AppError) throw thrown
    throw syntaxError(file, "", errorText(thrown))
  }
}

function refuseBrackets(text: string, file: string): void {
  let open = 0
  for (const [bracket] of text.matchAll(/[[\]{}]/g)) {
    open += bracket === "[" || bracket === "{" ? 1 : -1
    if (open > maxOpenBrackets) throw syntaxError(file, "", `it nests deeper than ${maxDepth} levels`)
  }
}

/** Refuses what an anchor inside itself, or many of them, can make. */
function checkSize(value: unknown, file: string): void {
  let values = 0
  const visit = (node: unknown, depth: number) => {
    if (++values > maxValues) throw syntaxError(file, "", `it has more than ${maxValues} values`)
    if (depth > maxDepth) throw syntaxError(file, "", `it nests deeper than ${maxDepth} levels, or contains itself`)
    if (typeof node === "object" && node !== null) for (const child of Object.values(node)) visit(child, depth + 1)
  }
  visit(value, 0)
}
