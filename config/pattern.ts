import { AppError, errorText } from "../core/errors.ts"
import { javascriptPattern } from "./rust-pattern.ts"

/**
 * Patterns in a configuration file are in the syntax of Rust's regular expressions; they are run by JavaScript's.
 * @throws AppError "config-bad-pattern"
 */
export function compilePattern(source: string, flags = ""): RegExp {
  try {
    return translated(source, flags)
  } catch (cause) {
    throw new AppError("config-bad-pattern", `Cannot read the pattern ${JSON.stringify(source)}: ${reason(cause)}`, {
      cause,
    })
  }
}

/** What is wrong with a pattern, or undefined. */
export function patternProblem(source: string): string | undefined {
  try {
    translated(source, "")
    return undefined
  } catch (thrown) {
    return reason(thrown)
  }
}

function translated(source: string, flags: string): RegExp {
  const all = new Set(flags)
  let rest = source
  for (let lead = leadingFlags(rest); lead !== undefined; lead = leadingFlags(rest)) {
    for (const flag of lead.flags) all.add(flag)
    rest = rest.slice(lead.length)
  }
  return javascriptPattern(rest, all)
}

/** `(?is)` for the whole pattern; `u` is always on in Rust, `x` is not translated. */
function leadingFlags(pattern: string): { flags: string; length: number } | undefined {
  const match = /^\(\?([imsu]+)\)/.exec(pattern)
  return match === null ? undefined : { flags: match[1]!.replace("u", ""), length: match[0].length }
}

function reason(thrown: unknown): string {
  return errorText(thrown).replace(/^Invalid regular expression: /, "")
}

/** A pattern that matches the text itself. */
export function escapePattern(text: string): string {
  return text.replace(/[\\^$.*+?()[\]{}|]/g, "\\$&")
}
