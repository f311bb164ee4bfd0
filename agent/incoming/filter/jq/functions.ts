import { compileRegex, type Regex } from "../regex/regex.ts"
import type { Expression } from "./expression.ts"
import type { Scope } from "./scope.ts"
import { add, asText, compare, JqError, type Json, kindOf, truth } from "./values.ts"

/** Functions of the input and one value of each argument. */
const plain: Record<string, (input: Json, ...args: Json[]) => Json> = {
  "not/0": (input) => !truth(input),
  "length/0": length,
  "type/0": kindOf,
  "tostring/0": asText,
  "tonumber/0": number,
  "tojson/0": (input) => JSON.stringify(input),
  "utf8bytelength/0": (input) => Buffer.byteLength(text(input)),
  "implode/0": (input) =>
    attempt("are no characters", () => String.fromCodePoint(...array(input).map((code) => numeric(code)))),
  "min/0": (input) => [...array(input)].sort(compare)[0] ?? null,
  "max/0": (input) => [...array(input)].sort(compare).at(-1) ?? null,
  "fromjson/0": (input) => attempt("cannot be parsed as JSON", () => JSON.parse(text(input))),
  "ascii_downcase/0": (input) => text(input).replace(/[A-Z]/g, (letter) => letter.toLowerCase()),
  "ascii_upcase/0": (input) => text(input).replace(/[a-z]/g, (letter) => letter.toUpperCase()),
  "trim/0": (input) => text(input).trim(),
  "ltrim/0": (input) => text(input).trimStart(),
  "rtrim/0": (input) => text(input).trimEnd(),
  "keys/0": (input) => (Array.isArray(input) ? input.map((_, at) => at) : Object.keys(object(input)).sort()),
  "add/0": (input) => array(input).reduce(add, null),
  "first/0": (input) => array(input)[0] ?? null,
  "last/0": (input) => array(input).at(-1) ?? null,
  "reverse/0": (input) => (typeof input === "string" ? [...input].reverse().join("") : [...array(input)].reverse()),
  "sort/0": (input) => [...array(input)].sort(compare),
  "unique/0": (input) =>
    [...array(input)].sort(compare).filter((item, at, all) => at === 0 || compare(item, all[at - 1]!) !== 0),
  "any/0": (input) => array(input).some(truth),
  "all/0": (input) => array(input).every(truth),
  "explode/0": (input) => [...text(input)].map((character) => character.codePointAt(0)!),
  "floor/0": (input) => Math.floor(numeric(input)),
  "startswith/1": (input, start) => text(input).startsWith(text(start)),
  "endswith/1": (input, end) => text(input).endsWith(text(end)),
  "ltrimstr/1": (input, start) =>
    typeof input === "string" && typeof start === "string" && input.startsWith(start)
      ? input.slice(start.length)
      : input,
  "rtrimstr/1": (input, end) =>
    typeof input === "string" && typeof end === "string" && end !== "" && input.endsWith(end)
      ? input.slice(0, -end.length)
      : input,
  "split/1": (input, separator) => text(input).split(text(separator)),
  "has/1": (input, key) =>
    Array.isArray(input) ? numeric(key) >= 0 && numeric(key) < input.length : Object.hasOwn(object(input), text(key)),
  "contains/1": contains,
  "inside/1": (input, other) => contains(other, input),
  "index/1": (input, part) => found(text(input).indexOf(text(part))),
  "rindex/1": (input, part) => found(text(input).lastIndexOf(text(part))),
  "error/1": (_, message) => {
    throw new JqError(asText(message!))
  },
}

/** Functions whose arguments are run by themselves. */
const special = new Set([
  "empty/0",
  "error/0",
  "select/1",
  "map/1",
  "any/1",
  "all/1",
  "first/1",
  "limit/2",
  "isempty/1",
  "range/2",
  "match/2",
  "sort_by/1",
  "recurse/0",
  "values/0",
  "join/1",
  "test/1",
  "test/2",
])

/** `key`: name and number of arguments, as "map/1". */
export function knownFunction(key: string): boolean {
  return special.has(key) || Object.hasOwn(plain, key)
}

export function* functions(key: string, args: Expression[], input: Json, scope: Scope): Generator<Json> {
  const apply = plain[key]
  if (apply) {
    for (const values of combinations(args, input, scope)) {
      scope.step(workOn(input) + values.reduce<number>((sum, value) => sum + workOn(value), 0))
      yield apply(input, ...values)
    }
    return
  }
  const [argument] = args as [Expression]
  switch (key) {
    case "empty/0":
      return
    case "error/0":
      throw new JqError(asText(input))
    case "select/1":
      for (const keep of scope.run(argument, input, scope)) if (truth(keep)) yield input
      return
    case "map/1":
      yield array(input).flatMap((item) => [...scope.run(argument, item, scope)])
      return
    case "any/1":
      yield array(input).some((item) => [...scope.run(argument, item, scope)].some(truth))
      return
    case "all/1":
      yield array(input).every((item) => [...scope.run(argument, item, scope)].every(truth))
      return
    case "first/1":
      for (const value of scope.run(argument, input, scope)) {
        yield value
        return
      }
      return
    case "isempty/1":
      yield scope.run(argument, input, scope).next().done === true
      return
    case "limit/2":
      for (const count of scope.run(argument, input, scope)) yield* limited(numeric(count), args[1]!, input, scope)
      return
    case "range/2":
      for (const [from, to] of combinations(args, input, scope)) {
        for (let value = numeric(from!); value < numeric(to!); value++) {
          scope.step()
          yield value
        }
      }
      return
    case "sort_by/1":
      yield array(input)
        .map((item) => ({ item, by: [...scope.run(argument, item, scope)] }))
        .sort((left, right) => compare(left.by, right.by))
        .map(({ item }) => item)
      return
    case "match/2":
      for (const [pattern, flags] of combinations(args, input, scope))
        yield* matches(text(input), pattern!, flags!, scope)
      return
    case "recurse/0":
      yield* recurse(input, scope)
      return
    case "values/0":
      if (input !== null) yield input
      return
    case "join/1":
      for (const separator of scope.run(argument, input, scope)) yield join(array(input), text(separator), scope)
      return
    default:
      for (const [pattern, flags] of combinations(args, input, scope)) {
        yield scope.search(regex(pattern!, flags ?? ""), text(input))
      }
  }
}

function* limited(count: number, of: Expression, input: Json, scope: Scope): Generator<Json> {
  let left = count
  if (left <= 0) return
  for (const value of scope.run(of, input, scope)) {
    yield value
    if (--left <= 0) return
  }
}

/** As jq describes them; offsets count UTF-16 units, as slices do here. Flag `g`: all, not only the first. */
function* matches(input: string, pattern: Json, flags: Json, scope: Scope): Generator<Json> {
  const compiledRegex = regex(pattern, flags)
  const isGlobal = typeof flags === "string" && flags.includes("g")
  for (let from = 0; from <= input.length; ) {
    const found = scope.find(compiledRegex, input, from)
    if (!found) return
    const { start, end, groups } = found
    yield {
      offset: start,
      length: end - start,
      string: input.slice(start, end),
      captures: groups.map((group) => ({
        offset: group.start,
        length: group.start < 0 ? 0 : group.end - group.start,
        string: group.start < 0 ? null : input.slice(group.start, group.end),
        name: group.name ?? null,
      })),
    }
    if (!isGlobal) return
    from = end > start ? end : end + 1
  }
}

function join(items: Json[], separator: string, scope: Scope): string {
  // Before there is a text: it may be very long.
  scope.step(workOn(items) + (items.length * separator.length) / unitsOfStep)
  return items.map((item) => (item === null ? "" : String(item))).join(separator)
}

function* combinations(args: Expression[], input: Json, scope: Scope): Generator<Json[]> {
  const [first, ...rest] = args
  if (!first) {
    yield []
    return
  }
  for (const value of scope.run(first, input, scope))
    for (const others of combinations(rest, input, scope)) yield [value, ...others]
}

function* recurse(value: Json, scope: Scope): Generator<Json> {
  scope.step()
  yield value
  if (typeof value === "object" && value !== null)
    for (const child of Object.values(value)) yield* recurse(child, scope)
}

/** Characters or items gone through in the time of one step. */
const unitsOfStep = 16

/** Steps it takes to go through a value once, as far as its own length counts. */
export function workOn(value: Json): number {
  if (typeof value === "string" || Array.isArray(value)) return value.length / unitsOfStep
  return typeof value === "object" && value !== null ? Object.keys(value).length / unitsOfStep : 0
}

const compiled = new Map<string, Regex>()
const maxCompiled = 100

function regex(pattern: Json, flags: Json): Regex {
  const letters = flags === null ? "" : text(flags)
  const inline = [...letters].filter((letter) => "ixs".includes(letter)).join("")
  const source = inline ? `(?${inline})${text(pattern)}` : text(pattern)
  const known = compiled.get(source)
  if (known) return known
  const made = attempt("is not a regular expression", () => compileRegex(source))
  if (compiled.size >= maxCompiled) compiled.clear()
  compiled.set(source, made)
  return made
}

function attempt<T>(failure: string, work: () => T): T {
  try {
    return work()
  } catch {
    throw new JqError(failure)
  }
}

function contains(input: Json, part: Json): boolean {
  if (typeof input === "string" && typeof part === "string") return input.includes(part)
  if (Array.isArray(input) && Array.isArray(part))
    return part.every((wanted) => input.some((item) => same(item, wanted)))
  if (kindOf(input) === "object" && kindOf(part) === "object") {
    return Object.entries(object(part)).every(
      ([key, wanted]) => Object.hasOwn(object(input), key) && same(object(input)[key]!, wanted),
    )
  }
  return compare(input, part) === 0
}

const same = (item: Json, wanted: Json) => kindOf(item) === kindOf(wanted) && contains(item, wanted)
const found = (at: number): Json => (at === -1 ? null : at)

function length(input: Json): Json {
  if (input === null) return 0
  if (typeof input === "string") return [...input].length
  if (typeof input === "number") return Math.abs(input)
  if (typeof input === "boolean") throw new JqError("a boolean has no length")
  return Object.keys(input).length
}

function number(input: Json): Json {
  if (typeof input === "number") return input
  if (!/^\s*-?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?\s*$/.test(text(input)))
    throw new JqError("cannot be parsed as a number")
  return Number(input)
}

function text(value: Json): string {
  if (typeof value !== "string") throw new JqError(`expected a string, got ${kindOf(value)}`)
  return value
}

function numeric(value: Json): number {
  if (typeof value !== "number") throw new JqError(`expected a number, got ${kindOf(value)}`)
  return value
}

function array(value: Json): Json[] {
  if (!Array.isArray(value)) throw new JqError(`expected an array, got ${kindOf(value)}`)
  return value
}

function object(value: Json): Record<string, Json> {
  if (kindOf(value) !== "object") throw new JqError(`expected an object, got ${kindOf(value)}`)
  return value as Record<string, Json>
}
