import { compilePattern } from "../../../config/pattern.ts"

export interface Patterns {
  /** Does any of them match? */
  test(text: string): boolean
}

/**
 * Joins patterns into as few expressions as their flags allow: lists are asked about every path of a program. Undefined
 * when there are none. @throws AppError "config-bad-pattern" naming the pattern
 */
export function compileAny(sources: readonly string[] | undefined, flags = ""): Patterns | undefined {
  if (!sources || sources.length === 0) return undefined
  const byFlags = new Map<string, string[]>()
  for (const source of sources) {
    const compiled = compilePattern(source, flags)
    byFlags.set(compiled.flags, [...(byFlags.get(compiled.flags) ?? []), compiled.source])
  }
  const joined = [...byFlags].map(([each, parts]) => new RegExp(parts.map((part) => `(?:${part})`).join("|"), each))
  return { test: (text) => joined.some((expression) => expression.test(text)) }
}
