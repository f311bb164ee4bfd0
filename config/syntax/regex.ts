/**
 * What is surely wrong with a regular expression that somebody else runs, or undefined. Dialects differ in what stands
 * behind a backslash or a question mark, so only what none of them forgives is looked at: brackets, and repetitions.
 */
export function regexProblem(source: string): string | undefined {
  if (/\(\?[a-wyzA-Z]*x/.test(source)) return undefined // spaces and comments: another language
  let open = 0
  /** Something a repetition could be for stands before. */
  let repeatable = false
  for (let at = 0; at < source.length; at++) {
    const character = source[at]!
    switch (character) {
      case "\\":
        if (++at >= source.length) return "it ends with a backslash"
        repeatable = true
        break
      case "[": {
        const end = endOfClass(source, at)
        if (end === undefined) return '"[" is never closed'
        at = end
        repeatable = true
        break
      }
      case "(":
        open++
        at += /^\((?:\?(?:P?<\w+>|<?[=!]|[a-zA-Z-]*[:)]|>))?/.exec(source.slice(at))![0].length - 1
        if (source[at] === ")" && source[at - 1] !== "(") open--
        repeatable = false
        break
      case ")":
        if (--open < 0) return '")" has no beginning'
        repeatable = true
        break
      case "|":
        repeatable = false
        break
      case "*":
      case "+":
      case "?":
        if (!repeatable) return `nothing to repeat before "${character}"`
        break
      case "{": {
        const [whole, from, to] = /^\{(\d+),(\d+)\}/.exec(source.slice(at)) ?? []
        if (whole !== undefined && Number(from) > Number(to)) return `${whole} asks for at least more than at most`
        repeatable = true
        break
      }
      default:
        repeatable = true
    }
  }
  return open > 0 ? '"(" is never closed' : undefined
}

/** Classes may hold others; "]" at the beginning is a character. */
function endOfClass(source: string, from: number): number | undefined {
  let at = from + 1
  if (source[at] === "^") at++
  if (source[at] === "]") at++
  for (; at < source.length; at++) {
    const character = source[at]
    if (character === "\\") at++
    else if (character === "]") return at
    else if (character === "[") {
      const inner = endOfClass(source, at)
      if (inner === undefined) return undefined
      at = inner
    }
  }
  return undefined
}
