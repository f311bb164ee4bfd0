import { date } from "../date.ts"
import { anything, argument, asText, isObject, text, truth } from "../value.ts"
import type { Filter } from "./filter.ts"
import { listFilters } from "./lists.ts"
import { numberFilters } from "./numbers.ts"
import { textFilters } from "./texts.ts"

/** The filters of the Tera language; `default` is the evaluation's, because its value may be missing. */
export const filters: Readonly<Record<string, Filter>> = {
  ...textFilters,
  ...listFilters,
  ...numberFilters,
  date,
  safe: (value) => value,
  as_str: asText,
  json_encode: (value, args) => JSON.stringify(value, null, argument(args, "pretty", truth, false) ? 2 : 0),
  length(value) {
    if (typeof value === "string") return [...value].length
    if (typeof value === "object") return Object.keys(value).length
    throw new Error("a text, a list or an object is expected")
  },
  reverse: (value) => (Array.isArray(value) ? value.toReversed() : [...text(value)].reverse().join("")),
  get(value, args) {
    const key = argument(args, "key", text)
    if (!isObject(value)) throw new Error("an object is expected")
    return Object.hasOwn(value, key) ? value[key]! : argument(args, "default", anything)
  },
}
