import { parseJsonPath } from "../../core/json-path.ts"
import { patternProblem } from "../pattern.ts"
import type { Config } from "../schema/index.ts"
import { jqProblem } from "../syntax/jq.ts"
import { regexProblem } from "../syntax/regex.ts"
import type { Findings } from "./findings.ts"

/**
 * Programs and patterns inside texts. What mirrord would refuse is an error. What only fails when the session is
 * running, at whoever runs it, is a warning: that one may know more of the language than is looked at here.
 */
export function checkFilters({ feature }: Config, findings: Findings): void {
  const { http_filter: http } = feature.network.incoming
  const root = "feature.network.incoming.http_filter"
  runHere(`${root}.header_filter`, http.header_filter, findings)
  runHere(`${root}.path_filter`, http.path_filter, findings)
  later(`${root}.header_filter_jq`, http.header_filter_jq, jqProblem, findings)
  body(`${root}.body_filter`, http.body_filter, findings)
  for (const key of ["all_of", "any_of"] as const) {
    http[key]?.forEach((part, index) => {
      const name = `${root}.${key}.${index}`
      if ("header" in part) later(`${name}.header`, part.header, regexProblem, findings)
      else if ("path" in part) later(`${name}.path`, part.path, regexProblem, findings)
      else if ("body" in part) body(name, part, findings)
      else if ("query" in part) later(`${name}.query`, part.query, jqProblem, findings)
    })
  }
  for (const { queue_id, message_filter, jq_filter } of feature.split_queues) {
    const name = `feature.split_queues.${queue_id}`
    for (const [attribute, pattern] of Object.entries(message_filter ?? {})) {
      refused(`${name}.message_filter.${attribute}`, pattern, regexProblem, findings)
    }
    refused(`${name}.jq_filter`, jq_filter, jqProblem, findings)
  }
}

function body(name: string, filter: { query: string; matches: string } | undefined, findings: Findings): void {
  if (filter === undefined) return
  refused(`${name}.query`, filter.query, jsonPathProblem, findings)
  later(`${name}.matches`, filter.matches, regexProblem, findings)
}

type Check = (source: string) => string | undefined

function refused(key: string, source: string | undefined, check: Check, { errors }: Findings): void {
  const problem = source === undefined ? undefined : check(source)
  if (problem !== undefined) errors.push(cannotBeRead(key, source!, problem))
}

function later(key: string, source: string | undefined, check: Check, { warnings }: Findings): void {
  const problem = source === undefined ? undefined : check(source)
  if (problem !== undefined) warnings.push(cannotBeRead(key, source!, problem))
}

/** The pattern of a session that has only this one: a broken one stops it at the beginning. */
function runHere(key: string, source: string | undefined, findings: Findings): void {
  refused(key, source, regexProblem, findings)
  if (source !== undefined && regexProblem(source) === undefined) later(key, source, patternProblem, findings)
}

function jsonPathProblem(source: string): string | undefined {
  try {
    parseJsonPath(source)
    return undefined
  } catch (thrown) {
    // The query itself is named around this.
    return (thrown as Error).message.replace(/^the JSONPath "[\s\S]*" /, "it ")
  }
}

function cannotBeRead(key: string, source: string, problem: string): string {
  return `"${key}": ${JSON.stringify(source)} cannot be read: ${problem}`
}
