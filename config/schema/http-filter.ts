import * as v from "valibot"
import { checked, isRecord, listOrOne, maybeText, noted, picking, short, text, u16 } from "./values.ts"

const notEmpty = v.pipe(text, v.minLength(1, "must not be empty"))

const header = v.strictObject({ header: notEmpty })
const path = v.strictObject({ path: notEmpty })
const method = v.strictObject({ method: notEmpty })
const body = v.strictObject({ body: v.literal("json"), query: notEmpty, matches: text })
const jq = v.strictObject({ query: notEmpty })

const part = picking([header, path, method, body, jq], (value) => {
  if (!isRecord(value)) return undefined
  if ("header" in value) return header
  if ("path" in value) return path
  if ("method" in value) return method
  return "body" in value || "matches" in value ? body : jq
})
const parts = v.optional(v.pipe(v.array(part), v.minLength(1, "must not be empty")))

const kinds = [
  "header_filter",
  "path_filter",
  "method_filter",
  "body_filter",
  "header_filter_jq",
  "all_of",
  "any_of",
] as const

const object = v.pipe(
  v.strictObject({
    header_filter: noted(v.optional(notEmpty), { env: "MIRRORD_HTTP_HEADER_FILTER" }),
    path_filter: noted(v.optional(notEmpty), { env: "MIRRORD_HTTP_PATH_FILTER" }),
    method_filter: maybeText({ env: "MIRRORD_HTTP_METHOD_FILTER" }),
    body_filter: v.optional(body),
    header_filter_jq: maybeText({ env: "MIRRORD_HTTP_HEADER_FILTER_JQ" }),
    all_of: parts,
    any_of: parts,
    /** Ports the filter is for; absent: all. Other ports are taken whole. */
    ports: noted(v.optional(listOrOne(u16)), { env: "MIRRORD_HTTP_FILTER_PORTS" }),
  }),
  checked((filter) => {
    const used = kinds.filter((kind) => filter[kind] !== undefined)
    if (used.length < 2) return undefined
    return `holds ${used.join(" and ")}; use one of them, or put them into "all_of" or "any_of"`
  }),
)

/** Which requests a session is about. */
export const httpFilter = short(object, v.boolean(), (value) => (typeof value === "boolean" ? {} : undefined))
