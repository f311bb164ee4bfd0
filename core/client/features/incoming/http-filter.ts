import { AppError } from "../../../errors.ts"
import type { HttpFilter, HttpMethodFilter, ProtocolFeature } from "../../../protocol/index.ts"

/** The filter keys of the configuration; at most one of them is set, `ports` aside. */
export interface FilterConfig {
  header_filter?: string
  path_filter?: string
  method_filter?: string
  body_filter?: { query: string; matches: string }
  header_filter_jq?: string
  all_of?: readonly FilterPart[]
  any_of?: readonly FilterPart[]
}

export type FilterPart =
  | { header: string }
  | { path: string }
  | { method: string }
  | { body: "json"; query: string; matches: string }
  | { query: string }

const methods = ["Get", "Head", "Post", "Put", "Delete", "Connect", "Options", "Trace", "Patch"] as const

/** The protocol's form of a configured filter; undefined when every request is meant. */
export function toHttpFilter(config: FilterConfig): HttpFilter | undefined {
  if (config.header_filter !== undefined) return { kind: "Header", value: config.header_filter }
  if (config.path_filter !== undefined) return { kind: "Path", value: config.path_filter }
  if (config.method_filter !== undefined) return { kind: "Method", value: methodFilter(config.method_filter) }
  if (config.body_filter !== undefined) return bodyFilter(config.body_filter)
  if (config.header_filter_jq !== undefined) return { kind: "HeaderJq", value: config.header_filter_jq }
  const parts = config.all_of ?? config.any_of
  return parts && { kind: "Composite", value: { all: config.all_of !== undefined, filters: parts.map(part) } }
}

function part(of: FilterPart): HttpFilter {
  if ("header" in of) return { kind: "Header", value: of.header }
  if ("path" in of) return { kind: "Path", value: of.path }
  if ("method" in of) return { kind: "Method", value: methodFilter(of.method) }
  return "body" in of ? bodyFilter(of) : { kind: "HeaderJq", value: of.query }
}

function methodFilter(name: string): HttpMethodFilter {
  const known = methods.find((method) => method.toLowerCase() === name.toLowerCase())
  return known ? { kind: known } : { kind: "Other", value: name }
}

function bodyFilter({ query, matches }: { query: string; matches: string }): HttpFilter {
  return { kind: "Body", value: { kind: "Json", value: { query, matches } } }
}

/** @throws AppError "filter-unsupported" when the agent is too old for the filter */
export function requireFilterSupport(filter: HttpFilter, supports: (feature: ProtocolFeature) => boolean): void {
  const needed: Partial<Record<HttpFilter["kind"], ProtocolFeature>> = {
    Composite: "compositeFilter",
    Method: "methodFilter",
    Body: "bodyFilter",
    HeaderJq: "headerJqFilter",
  }
  const feature = needed[filter.kind]
  if (feature && !supports(feature)) {
    throw new AppError("filter-unsupported", `The agent is too old for the HTTP filter of kind ${filter.kind}`, {
      next: "Use a newer agent (agent.image), or a header or path filter.",
    })
  }
  if (filter.kind === "Composite") for (const each of filter.value.filters) requireFilterSupport(each, supports)
}
