import { AppError, errorText } from "../../errors.ts"

/**
 * Compiles a pattern of the configuration. Its syntax is that of Rust's regular expressions; what is in daily use there
 * and different here is translated: leading flags such as `(?i)`, named groups `(?P<name>…)`, and `\A`, `\z`.
 * @throws AppError "bad-pattern"
 */
export function compilePattern(source: string, options: { ignoreCase?: boolean } = {}): RegExp {
  let flags = options.ignoreCase ? "i" : ""
  const text = source
    .replace(/^\(\?([imsx]+)\)/, (_, given: string) => {
      for (const flag of given) if (flag !== "x" && !flags.includes(flag)) flags += flag
      return ""
    })
    .replaceAll("(?P<", "(?<")
    .replaceAll("\\A", "^")
    .replaceAll("\\z", "$")
  try {
    return new RegExp(text, flags)
  } catch (thrown) {
    throw new AppError("bad-pattern", `"${source}" is not a regular expression: ${errorText(thrown)}`, {
      cause: thrown,
      next: "Correct the pattern in the configuration.",
    })
  }
}

/** One expression that matches what any of `sources` matches; undefined when there are none. */
export function compileAny(
  sources: readonly string[] | undefined,
  options: { ignoreCase?: boolean } = {},
): RegExp | undefined {
  if (!sources || sources.length === 0) return undefined
  // Each is compiled alone first, so that an error names the pattern it is in.
  const parts = sources.map((source) => compilePattern(source, options).source)
  return new RegExp(parts.map((part) => `(?:${part})`).join("|"), options.ignoreCase ? "i" : "")
}

export const escapePattern = (text: string): string => text.replaceAll(/[.*+?^${}()|[\]\\/-]/g, "\\$&")
