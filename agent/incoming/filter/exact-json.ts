/** Without so many digits no integer is beyond what a number holds exactly. */
const manyDigits = /\d{16}/
const integer = /^-?\d+$/
const least = -(2n ** 63n)
const most = 2n ** 64n - 1n

/** Not in the published types: what stood in the text (ECMAScript's "JSON.parse source text access"). */
type Revive = (key: string, value: unknown, context: { source?: string }) => unknown
const { rawJSON } = JSON as unknown as { rawJSON(text: string): unknown }

const keepLarge: Revive = (_, value, { source = "" }) => {
  if (typeof value !== "number" || Number.isSafeInteger(value) || !integer.test(source)) return value
  const exact = BigInt(source)
  return exact < least || exact > most ? value : exact
}
const showLarge = (_: string, value: unknown) => (typeof value === "bigint" ? rawJSON(String(value)) : value)

/**
 * JSON as mirrord's agent reads and shows it: integers of up to 64 bits keep all their digits, as `bigint` where a number would not.
 * `textOf` is a part of the value in compact JSON. @throws SyntaxError
 */
export function parseExactly(json: string): { value: unknown; textOf(node: unknown): string } {
  if (!manyDigits.test(json)) return { value: JSON.parse(json), textOf: (node) => JSON.stringify(node) }
  return {
    value: JSON.parse(json, keepLarge as (key: string, value: unknown) => unknown),
    textOf: (node) => JSON.stringify(node, showLarge),
  }
}
