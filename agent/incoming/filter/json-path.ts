import { AppError } from "../../../core/errors.ts"
import {
  type Comparable,
  parseJsonPath,
  type Query,
  type Segment,
  type Selector,
  type Test,
} from "../../../core/json-path.ts"
import { compileRegex, maxSearchSteps, type Regex } from "./regex/regex.ts"

/** Nodes one query may visit, about 50 ms; what is found until then counts. Source of the language: RFC 9535. */
const maxVisits = 500_000

const nothing = Symbol("nothing")

/**
 * A query with the extension function `typeof(nodes)`; gives the values of the selected nodes.
 * @throws AppError "bad-json-path"
 */
export function compileJsonPath(source: string): (root: unknown) => unknown[] {
  const query = parseJsonPath(source)
  return (root) => {
    const run = new Evaluation(root)
    try {
      return run.query(query, root)
    } catch (thrown) {
      if (thrown instanceof AppError && thrown.code === "too-much-work") return []
      throw thrown
    }
  }
}

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value)

const children = (value: unknown): unknown[] =>
  Array.isArray(value) ? value : isObject(value) ? Object.values(value) : []

class Evaluation {
  readonly #root: unknown
  readonly #regexes = new Map<string, Regex | undefined>()
  /** Of all searches together. */
  readonly #fuel = { steps: maxSearchSteps }
  #visits = 0

  constructor(root: unknown) {
    this.#root = root
  }

  query({ fromRoot, segments }: Query, current: unknown): unknown[] {
    let nodes = [fromRoot ? this.#root : current]
    for (const segment of segments) nodes = nodes.flatMap((node) => this.#segment(segment, node))
    return nodes
  }

  #segment({ descendants, selectors }: Segment, node: unknown): unknown[] {
    const bases = descendants ? this.#withDescendants(node) : [node]
    return bases.flatMap((base) => selectors.flatMap((selector) => this.#select(selector, base)))
  }

  #withDescendants(node: unknown): unknown[] {
    const found = [node]
    for (let at = 0; at < found.length; at++) {
      this.#visit()
      found.push(...children(found[at]))
    }
    return found
  }

  #visit(): void {
    if (++this.#visits > maxVisits) throw new AppError("too-much-work", "the query takes too long")
  }

  #select(selector: Selector, node: unknown): unknown[] {
    this.#visit()
    switch (selector.kind) {
      case "name":
        return isObject(node) && Object.hasOwn(node, selector.name) ? [node[selector.name]] : []
      case "wildcard":
        return children(node)
      case "index":
        return Array.isArray(node) && inArray(node, selector.index) ? [node.at(selector.index)] : []
      case "slice":
        return Array.isArray(node) ? sliced(node, selector) : []
      case "filter":
        return children(node).filter((child) => this.#test(selector.test, child))
    }
  }

  #test(test: Test, current: unknown): boolean {
    this.#visit()
    switch (test.kind) {
      case "or":
        return test.tests.some((part) => this.#test(part, current))
      case "and":
        return test.tests.every((part) => this.#test(part, current))
      case "not":
        return !this.#test(test.test, current)
      case "exists":
        return this.query(test.query, current).length > 0
      case "match":
        return this.#match(test, current)
      case "compare":
        return compare(test.operator, this.#value(test.left, current), this.#value(test.right, current))
    }
  }

  #value(of: Comparable, current: unknown): unknown {
    switch (of.kind) {
      case "literal":
        return of.value
      case "query":
        return single(this.query(of.query, current))
      case "value":
        return single(this.query(of.query, current))
      case "count":
        return this.query(of.query, current).length
      case "typeof":
        return commonType(this.query(of.query, current))
      case "length": {
        const value = this.#value(of.of, current)
        if (typeof value === "string") return [...value].length
        return Array.isArray(value) || isObject(value) ? children(value).length : nothing
      }
    }
  }

  #match({ text, pattern, whole }: Extract<Test, { kind: "match" }>, current: unknown): boolean {
    const value = this.#value(text, current)
    const source = this.#value(pattern, current)
    if (typeof value !== "string" || typeof source !== "string") return false
    const key = whole ? `^(?:${source})$` : source
    if (!this.#regexes.has(key)) this.#regexes.set(key, compiledOrNothing(key))
    return this.#regexes.get(key)?.test(value, this.#fuel) ?? false
  }
}

function compiledOrNothing(source: string): Regex | undefined {
  try {
    return compileRegex(source)
  } catch {
    return undefined
  }
}

const single = (nodes: unknown[]): unknown => (nodes.length === 1 ? nodes[0] : nothing)
const inArray = (array: unknown[], index: number) => index < array.length && index >= -array.length

function sliced(array: unknown[], { start, end, step }: Extract<Selector, { kind: "slice" }>): unknown[] {
  if (step === 0) return []
  const length = array.length
  const absolute = (index: number) => (index >= 0 ? index : length + index)
  const found: unknown[] = []
  if (step > 0) {
    const from = Math.min(Math.max(absolute(start ?? 0), 0), length)
    const to = Math.min(Math.max(absolute(end ?? length), 0), length)
    for (let at = from; at < to; at += step) found.push(array[at])
  } else {
    const from = Math.min(Math.max(absolute(start ?? length - 1), -1), length - 1)
    const to = end === undefined ? -1 : Math.min(Math.max(absolute(end), -1), length - 1)
    for (let at = from; at > to; at += step) found.push(array[at])
  }
  return found
}

/** The type all nodes have. */
function commonType(nodes: unknown[]): unknown {
  const types = new Set(nodes.map(typeName))
  return types.size === 1 ? [...types][0] : nothing
}

function typeName(value: unknown): string {
  if (value === null) return "null"
  if (Array.isArray(value)) return "array"
  if (isNumber(value)) return "number"
  return typeof value === "boolean" ? "bool" : typeof value
}

function compare(operator: string, left: unknown, right: unknown): boolean {
  switch (operator) {
    case "==":
      return equal(left, right)
    case "!=":
      return !equal(left, right)
    case "<":
      return less(left, right)
    case ">":
      return less(right, left)
    case "<=":
      return less(left, right) || equal(left, right)
    default:
      return less(right, left) || equal(left, right)
  }
}

/** Large integers are kept as `bigint`. */
const isNumber = (value: unknown): value is number | bigint => typeof value === "number" || typeof value === "bigint"

function less(left: unknown, right: unknown): boolean {
  if (isNumber(left) && isNumber(right)) return left < right
  return typeof left === "string" && typeof right === "string" && left < right
}

function equal(left: unknown, right: unknown): boolean {
  if (left === right) return true
  // biome-ignore lint/suspicious/noDoubleEquals: the two kinds of numbers are compared by their value
  if (isNumber(left) && isNumber(right)) return left == right
  if (Array.isArray(left)) {
    return Array.isArray(right) && left.length === right.length && left.every((item, at) => equal(item, right[at]))
  }
  if (!isObject(left) || !isObject(right)) return false
  const names = Object.keys(left)
  return (
    names.length === Object.keys(right).length &&
    names.every((name) => Object.hasOwn(right, name) && equal(left[name], right[name]))
  )
}
