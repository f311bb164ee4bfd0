/** JSON text, byte for byte as the chart's `toJson` writes it: keys sorted, and characters that mean something in HTML escaped. */
export function chartJson(value: unknown): string {
  const text = JSON.stringify(sorted(value))
  return text.replace(/[<>&]/g, (character) => `\\u00${character.charCodeAt(0).toString(16)}`)
}

function sorted(value: unknown): unknown {
  if (typeof value !== "object" || value === null) return value
  if (Array.isArray(value)) return value.map(sorted)
  const entries = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1))
  return Object.fromEntries(entries.map(([key, of]) => [key, sorted(of)]))
}
