/** A set of UTF-16 code units: a table for the first 256, a question for the others. */
export interface CharSet {
  low: Uint8Array
  high(unit: number): boolean
}

export function setOf(contains: (unit: number) => boolean): CharSet {
  const low = new Uint8Array(256)
  for (let unit = 0; unit < 256; unit++) low[unit] = contains(unit) ? 1 : 0
  return { low, high: contains }
}

export const contains = (set: CharSet, unit: number): boolean => (unit < 256 ? set.low[unit] === 1 : set.high(unit))

export const union = (sets: readonly CharSet[]): CharSet => setOf((unit) => sets.some((set) => contains(set, unit)))

export const negated = (set: CharSet): CharSet => setOf((unit) => !contains(set, unit))

export const range = (from: number, to: number): CharSet => setOf((unit) => unit >= from && unit <= to)

/** With the other case of every letter. */
export function foldCase(set: CharSet): CharSet {
  return setOf((unit) => {
    const character = String.fromCharCode(unit)
    const forms = [character, character.toLowerCase(), character.toUpperCase()]
    return forms.some((form) => form.length === 1 && contains(set, form.charCodeAt(0)))
  })
}

const byPattern = (pattern: RegExp): CharSet => setOf((unit) => pattern.test(String.fromCharCode(unit)))

export const classes: Record<"d" | "w" | "s", CharSet> = {
  d: byPattern(/^\p{Nd}$/u),
  w: byPattern(/^[\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\p{Join_C}]$/u),
  s: byPattern(/^\p{White_Space}$/u),
}

const posixPatterns: Record<string, RegExp> = {
  alnum: /^[0-9A-Za-z]$/,
  alpha: /^[A-Za-z]$/,
  ascii: /^\p{ASCII}$/u,
  blank: /^[\t ]$/,
  cntrl: /^\p{Cc}$/u,
  digit: /^[0-9]$/,
  graph: /^[!-~]$/,
  lower: /^[a-z]$/,
  print: /^[ -~]$/,
  punct: /^[!-/:-@[-`{-~]$/,
  space: /^[\t\n\v\f\r ]$/,
  upper: /^[A-Z]$/,
  word: /^[0-9A-Za-z_]$/,
  xdigit: /^[0-9A-Fa-f]$/,
}

/** `[:alpha:]` and its like; undefined when there is no such name. */
export function posixClass(name: string): CharSet | undefined {
  const pattern = posixPatterns[name]
  return pattern && byPattern(pattern)
}

/** `\p{L}`, `\p{Greek}`, `\pL`; undefined when there is no such property. */
export function unicodeClass(name: string): CharSet | undefined {
  for (const spelling of [name, `Script=${name}`]) {
    try {
      return byPattern(new RegExp(`^\\p{${spelling}}$`, "u"))
    } catch {}
  }
  return undefined
}
