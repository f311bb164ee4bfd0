import type { Context } from "hono"
import * as v from "valibot"
import type { FrontDoorEnv } from "./front-door.ts"
import { badRequest, methodNotAllowed } from "./status.ts"

/** As the API server reads them, whose RBAC goes by it: true when they are there, unless they say no. */
const flag = v.pipe(
  v.string(),
  v.transform((text) => !["false", "0"].includes(text.toLowerCase())),
)
/** Versions are opaque to clients, but ours are numbers, and `0` is any. */
const version = v.pipe(
  v.string(),
  v.regex(/^\d{0,20}$/, "no version of this API"),
  v.transform((digits) => BigInt(digits)),
)

const optionsSchema = v.object({
  watch: v.optional(flag, "false"),
  allowWatchBookmarks: v.optional(flag, "false"),
  /** Begin with what there is, then say that this was all. */
  sendInitialEvents: v.optional(flag),
  resourceVersion: v.optional(version, "0"),
  resourceVersionMatch: v.optional(v.picklist(["", "Exact", "NotOlderThan"]), ""),
  timeoutSeconds: v.optional(v.pipe(v.string(), v.regex(/^\d{1,10}$/), v.transform(Number)), "0"),
})

/** The options of a list or a watch that are about time; Kubernetes' ListOptions has the names. */
export type ListOptions = v.InferOutput<typeof optionsSchema>

/** @throws StatusError 400 */
export function readListOptions(c: Context<FrontDoorEnv>): ListOptions {
  const read = v.safeParse(optionsSchema, c.req.query())
  if (!read.success) {
    const [issue] = read.issues
    throw badRequest(`Cannot read the parameter "${v.getDotPath(issue) ?? "?"}": ${issue.message}`)
  }
  const { watch, sendInitialEvents, resourceVersionMatch } = read.output
  if (sendInitialEvents !== undefined && !(watch && resourceVersionMatch === "NotOlderThan"))
    throw badRequest('sendInitialEvents is for a watch with resourceVersionMatch "NotOlderThan"')
  return read.output
}

/** A list in place of a watch would break whoever asked. @throws StatusError 405 */
export function assertNoWatch(c: Context<FrontDoorEnv>, qualified: string): void {
  const watch = c.req.query("watch")
  if (watch !== undefined && v.parse(flag, watch))
    throw methodNotAllowed(`watch is not supported on resources of kind "${qualified}"`)
}
