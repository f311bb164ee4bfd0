import type { HttpFilter, HttpMethodFilter } from "../../../core/protocol/index.ts"
import { parseExactly } from "./exact-json.ts"
import { compileJq, maxJqSteps } from "./jq/jq.ts"
import { compileJsonPath } from "./json-path.ts"
import { compileRegex, maxSearchSteps } from "./regex/regex.ts"

/** What a filter may look at. */
export interface FilterRequest {
  method: string
  /** As in the request line (HTTP/1) or `:path` (HTTP/2). */
  target: string
  /** Names in any case, values as byte strings without space around them. */
  headers: readonly (readonly [name: string, value: string])[]
  /** The whole body, when it was asked for (`needsBody`), arrived in time and is not too large. */
  body: Uint8Array | undefined
}

export interface CompiledFilter {
  readonly needsBody: boolean
  /** Takes bounded time; what cannot be decided in it does not match. */
  matches(request: FilterRequest): boolean
}

/** @throws AppError "bad-regex", "bad-json-path", "bad-jq" */
export function compileFilter(filter: HttpFilter): CompiledFilter {
  switch (filter.kind) {
    case "Header":
      return headerFilter(filter.value)
    case "Path":
      return pathFilter(filter.value)
    case "Method":
      return methodFilter(filter.value)
    case "Composite":
      return compositeFilter(filter.value.all, filter.value.filters.map(compileFilter))
    case "Body":
      return bodyFilter(filter.value.value.query, filter.value.value.matches)
    case "HeaderJq":
      return jqFilter(filter.value)
  }
}

/** Header values with other bytes are not looked at. */
const visible = /^[\t\x20-\x7e]*$/

function headerFilter(source: string): CompiledFilter {
  const regex = compileRegex(source, true)
  return {
    needsBody: false,
    matches({ headers }) {
      const fuel = { steps: maxSearchSteps }
      return headers.some(([name, value]) => visible.test(value) && regex.test(`${name}: ${value}`, fuel))
    },
  }
}

function pathFilter(source: string): CompiledFilter {
  const regex = compileRegex(source, true)
  return {
    needsBody: false,
    matches({ target }) {
      const pathAndQuery = target.replace(/^[A-Za-z][\w+.-]*:\/\/[^/?]*/, "") || "/"
      const query = pathAndQuery.indexOf("?")
      return (
        regex.test(query === -1 ? pathAndQuery : pathAndQuery.slice(0, query)) ||
        (query !== -1 && regex.test(pathAndQuery))
      )
    },
  }
}

function methodFilter(filter: HttpMethodFilter): CompiledFilter {
  const wanted = (filter.kind === "Other" ? filter.value : filter.kind).toUpperCase()
  return { needsBody: false, matches: ({ method }) => method === wanted || method.toUpperCase() === wanted }
}

/** An empty list matches under `all` and not under "any". */
function compositeFilter(all: boolean, filters: readonly CompiledFilter[]): CompiledFilter {
  return {
    needsBody: filters.some(({ needsBody }) => needsBody),
    matches: (request) =>
      all ? filters.every((filter) => filter.matches(request)) : filters.some((filter) => filter.matches(request)),
  }
}

/** Strings are matched as they are, other values as compact JSON; unlike for headers and paths, case counts. */
function bodyFilter(query: string, source: string): CompiledFilter {
  const select = compileJsonPath(query)
  const regex = compileRegex(source)
  return {
    needsBody: true,
    matches({ body }) {
      const json = body && parsedJson(body)
      if (!json) return false
      const fuel = { steps: 2 * maxSearchSteps }
      return select(json.value).some((node) => regex.test(typeof node === "string" ? node : json.textOf(node), fuel))
    },
  }
}

/** As mirrord's agent; what is nested more deeply takes time beyond all measure. */
const maxDepth = 127
const textOrBracket = /"[^"\\]*(?:\\.[^"\\]*)*"?|[[{\]}]/g

function isDeeperThan(json: string, limit: number): boolean {
  let depth = 0
  for (const [found] of json.matchAll(textOrBracket)) {
    if (found === "[" || found === "{") depth++
    else if (found === "]" || found === "}") depth--
    if (depth > limit) return true
  }
  return false
}

function parsedJson(body: Uint8Array) {
  try {
    const text = new TextDecoder("utf-8", { fatal: true }).decode(body)
    return isDeeperThan(text, maxDepth) ? undefined : parseExactly(text)
  } catch {
    return undefined
  }
}

/** Each header as `name: value` is the program's input; the first boolean it gives counts. */
function jqFilter(source: string): CompiledFilter {
  const run = compileJq(source)
  return {
    needsBody: false,
    matches({ headers }) {
      const fuel = { steps: maxJqSteps }
      return headers.some(
        ([name, value]) =>
          run(`${name.toLowerCase()}: ${value}`, fuel).find((output) => typeof output === "boolean") === true,
      )
    },
  }
}
