import type { IncomingHttpHeaders } from "node:http"
import * as v from "valibot"
import { jsonText } from "../../../config/json-text.ts"
import { first } from "./client-headers.ts"
import { badRequest, forbidden } from "./status.ts"

/*
 * Parameters of a connect request: form-urlencoded in the query, or base64 of that in x-mirrord-connect-params, which
 * then counts alone. Unknown ones are ignored; those of features this operator does not advertise are refused.
 */

/** Longest parameter string read, in characters. */
const maxParamsLength = 256 * 1024

const json = <S extends v.GenericSchema>(schema: S) => v.pipe(jsonText, schema)

const short = v.pipe(v.string(), v.maxLength(1024))

/* Kubernetes' own forms. Anything else would mean another selector, and read back from a record another target. */
const name = "[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"
const labelKey = v.pipe(v.string(), v.regex(new RegExp(`^([a-z0-9][-a-z0-9.]{0,252}/)?${name}$`), "not a label's key"))
const labelValue = v.pipe(v.string(), v.regex(new RegExp(`^(${name})?$`), "not a label's value"))
const containerName = v.pipe(v.string(), v.regex(/^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/, "not a container's name"))

const paramsSchema = v.object({
  connect: v.literal("true"),
  on_concurrent_steal: v.optional(v.picklist(["abort", "continue", "override"]), "abort"),
  profile: v.optional(short),
  label_target: v.optional(
    json(v.object({ labels: v.record(labelKey, labelValue), container: v.nullish(containerName) })),
  ),
  branch_name: v.optional(short),
  key: v.optional(short),
  header_filter: v.optional(v.pipe(v.string(), v.maxLength(8192))),
  session_ci_info: v.optional(
    json(
      v.object({
        provider: v.nullish(short),
        environment: v.nullish(short),
        pipeline: v.nullish(short),
        triggeredBy: v.nullish(short),
      }),
    ),
  ),
  up_session_info: v.optional(json(v.object({ autoQueueSplitting: v.nullish(v.boolean()) }))),
})

export type ConnectParams = v.InferOutput<typeof paramsSchema>

/** Parameters that ask for what this operator does not do. */
const queueSplitting =
  /^(kafka|sqs|rmq|gcp_pubsub|azure_service_bus|redis_pubsub|temporal|bullmq)_|^(queue_modes|output_tmp_resources)$/
const databaseBranches = /^(branch_db_names|(mysql|pg|mongodb)_branch_names)$/

/** @throws StatusError 400 for what cannot be read, 403 for what is not supported */
export function readConnectParams(query: string, headers: IncomingHttpHeaders): ConnectParams {
  const params = parameters(query, headers)
  const read = v.safeParse(paramsSchema, Object.fromEntries(params))
  if (!read.success) {
    const [issue] = read.issues
    throw badRequest(`Cannot read the connect parameter "${v.getDotPath(issue) ?? "?"}": ${issue.message}`)
  }
  // `mirrord up` names every queue it finds, and counts on those being left out that cannot be split.
  const mayLeaveOut = read.output.up_session_info?.autoQueueSplitting === true
  const unsupported = [...params.keys()].find(
    (name) => databaseBranches.test(name) || (!mayLeaveOut && queueSplitting.test(name)),
  )
  if (unsupported)
    throw forbidden(`This operator does not support "${unsupported}" (queue splitting and database branches)`)
  return read.output
}

/** Is this a request to connect, rather than to look at the object? */
export function asksToConnect(query: string, headers: IncomingHttpHeaders): boolean {
  return parameters(query, headers).get("connect") === "true"
}

function parameters(query: string, headers: IncomingHttpHeaders): URLSearchParams {
  const header = first(headers["x-mirrord-connect-params"])
  const text = header === undefined ? query : Buffer.from(header, "base64").toString("utf8")
  if (text.length > maxParamsLength)
    throw badRequest(`The connect parameters are longer than ${maxParamsLength} characters`)
  const params = new URLSearchParams(text)
  for (const name of new Set(params.keys())) {
    if (params.getAll(name).length > 1)
      throw badRequest(`The connect parameter "${name.slice(0, 100)}" is given more than once`)
  }
  return params
}
