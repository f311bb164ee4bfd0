import {
  type Arguments,
  anything,
  argument,
  asText,
  at,
  list,
  number,
  same,
  text,
  truth,
  type Value,
} from "../value.ts"
import type { Filter } from "./filter.ts"

/** What an item is sorted or told apart by: itself, or what stands at "a.b" in it. */
function keyOf(item: Value, args: Arguments): Value | undefined {
  const attribute = argument(args, "attribute", text, "")
  return attribute === "" ? item : at(item, attribute)
}

/** Numbers and truths by their size, texts by their letters, lists by their length. */
function compare(left: Value, right: Value): number {
  if (typeof left === "string" && typeof right === "string") return left < right ? -1 : Number(left > right)
  if (Array.isArray(left) && Array.isArray(right)) return left.length - right.length
  if (typeof left === typeof right && typeof left !== "object") return Number(left) - Number(right)
  throw new Error("only items of one type can be sorted, and no objects")
}

/** Negative numbers count from the end. */
function index(items: readonly Value[], args: Arguments, name: string, fallback: number): number {
  const found = argument(args, name, number, fallback)
  return Math.max(0, Math.trunc(found < 0 ? items.length + found : found))
}

/** Filters of lists. */
export const listFilters: Readonly<Record<string, Filter>> = {
  first: (value) => list(value)[0] ?? "",
  last: (value) => list(value).at(-1) ?? "",
  nth: (value, args) => list(value)[argument(args, "n", number)] ?? "",
  join: (value, args) =>
    list(value)
      .map(asText)
      .join(argument(args, "sep", text, "")),
  slice: (value, args) => {
    const items = list(value)
    return items.slice(index(items, args, "start", 0), index(items, args, "end", items.length))
  },
  concat: (value, args) => list(value).concat(argument(args, "with", anything)),
  sort: (value, args) => {
    const keyed = list(value).map((item) => {
      const key = keyOf(item, args)
      if (key === undefined) throw new Error(`an item has no "${String(args["attribute"])}"`)
      return { item, key }
    })
    return keyed.sort((left, right) => compare(left.key, right.key)).map(({ item }) => item)
  },
  unique: (value, args) => {
    const caseSensitive = argument(args, "case_sensitive", truth, false)
    const seen = new Set<string>()
    return list(value).filter((item) => {
      const key = keyOf(item, args)
      if (key === undefined) return false
      const told = JSON.stringify(typeof key === "string" && !caseSensitive ? key.toLowerCase() : key)
      return !seen.has(told) && seen.add(told)
    })
  },
  map: (value, args) => {
    const attribute = argument(args, "attribute", text)
    return list(value).flatMap((item) => {
      const found = at(item, attribute)
      return found === undefined ? [] : [found]
    })
  },
  filter: (value, args) => {
    const attribute = argument(args, "attribute", text)
    const wanted = args["value"]
    return list(value).filter((item) => {
      const found = at(item, attribute)
      return found !== undefined && (wanted === undefined || same(found, wanted))
    })
  },
  group_by: (value, args) => {
    const attribute = argument(args, "attribute", text)
    const groups = new Map<string, Value[]>()
    for (const item of list(value)) {
      const found = at(item, attribute)
      if (found === undefined) continue
      const name = typeof found === "string" ? found : JSON.stringify(found)
      groups.set(name, [...(groups.get(name) ?? []), item])
    }
    return Object.fromEntries(groups)
  },
}
