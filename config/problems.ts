import type { BaseIssue } from "valibot"
import { AppError } from "../core/errors.ts"
import { suggestion } from "../core/nearest.ts"
import { keysOf, unwrapped } from "./env-overrides.ts"
import { configSchema } from "./schema/index.ts"
import { type AnySchema, isRecord } from "./schema/values.ts"

/** Everything that is wrong with one configuration. */
export class ConfigProblems extends AppError {
  readonly problems: readonly string[]
  constructor(where: string, problems: readonly string[]) {
    const list = problems.length === 1 ? ` ${problems[0]}` : problems.map((problem) => `\n  - ${problem}`).join("")
    super("config-invalid", `${where} is not valid:${list}`, {
      next: "`podside config schema` tells what each key may be.",
    })
    this.problems = problems
  }
}

/** Everything that is wrong with a document's keys, given what the schema said about it. @param schema default: that of the client's file */
export function problemsOf(
  raw: Record<string, unknown>,
  issues: readonly BaseIssue<unknown>[],
  schema: AnySchema = configSchema,
): string[] {
  const told = issues.map((issue) => problemText(issue, schema))
  return [...new Set([...misplaced(schema, schema, raw, []), ...told])]
}

/** All unknown keys, of which the schema names only one in each object, and lists where objects belong, which it lets pass. */
function misplaced(whole: AnySchema, schema: AnySchema, value: unknown, path: readonly string[]): string[] {
  const keys = keysOf(schema)
  if (keys === undefined || typeof value !== "object" || value === null) return []
  if (!isRecord(value))
    return [`"${path.join(".")}" must be an object, not ${Array.isArray(value) ? "a list" : "a date"}`]
  return Object.entries(value).flatMap(([key, child]) => {
    const known = Object.hasOwn(keys, key) ? keys[key] : undefined
    if (known !== undefined) return misplaced(whole, known, child, [...path, key])
    return isLoose(schema) ? [] : [unknownKey(whole, [...path, key])]
  })
}

function isLoose(schema: AnySchema): boolean {
  const { object, type } = unwrapped(schema)
  return object === undefined ? type === "loose_object" : isLoose(object)
}

/** What a valibot issue says, beginning with the path of its key. */
function problemText(issue: BaseIssue<unknown>, schema: AnySchema): string {
  const path = issue.path?.map((item) => String(item.key)) ?? []
  const key = path.join(".")
  if (issue.expected === "never" && issue.type === "strict_object") return unknownKey(schema, path)
  const missing =
    issue.type === "strict_object" || issue.type === "loose_object" ? issue.received === "undefined" : false
  if (missing) return `"${key}" is missing`
  if (issue.type === "raw_check" || issue.type === "raw_transform") return aboutKey(key, issue.message)
  if (issue.type.startsWith("min_") && !/^Invalid/.test(issue.message)) return aboutKey(key, issue.message)
  const expected = issue.expected === null ? "another value" : expectedText(issue.expected)
  return `"${key}" must be ${expected}, not ${issue.received}`
}

/** Messages of our own checks either go on from the key ("is empty") or are sentences about several keys. */
function aboutKey(key: string, message: string): string {
  if (key === "") return message
  return /^[a-z]/.test(message) ? `"${key}" ${message}` : `"${key}": ${message}`
}

function unknownKey(whole: AnySchema, path: readonly string[]): string {
  const key = path.at(-1)!
  const known = knownKeys(whole, path.slice(0, -1))
  return [`unknown key "${path.join(".")}".`, suggestion(key, known)].filter(Boolean).join(" ")
}

/** The keys allowed at a path, as far as plain objects lead there. */
function knownKeys(whole: AnySchema, path: readonly string[]): string[] {
  let schema: AnySchema | undefined = whole
  for (const key of path) schema = schema && keysOf(schema)?.[key]
  return Object.keys((schema && keysOf(schema)) ?? {})
}

const typeWords: Record<string, string> = {
  boolean: "true or false",
  string: "a text",
  number: "a number",
  Array: "a list",
  Object: "an object",
}

function expectedText(expected: string): string {
  const words = expected
    .replace(/[()]/g, "")
    .split(" | ")
    .map((word) => typeWords[word] ?? word)
  return [...new Set(words)].join(" or ")
}
