import * as v from "valibot"
import type { AppError } from "../../core/errors.ts"
import { parseTarget, type Target } from "../../core/target.ts"
import { checked, isRecord, maybeText, noted, picking, short, text, textMap } from "./values.ts"

/** Keys of the long form, to the word of the short form. */
const longForms = {
  pod: "pod",
  deployment: "deployment",
  rollout: "rollout",
  job: "job",
  cron_job: "cronjob",
  stateful_set: "statefulset",
  service: "service",
  replica_set: "replicaset",
} as const
type LongForm = keyof typeof longForms

const shortForm = v.pipe(
  text,
  v.rawTransform<string, Target>(({ dataset, addIssue, NEVER }) => {
    try {
      return parseTarget(dataset.value)
    } catch (thrown) {
      const { message, next } = thrown as AppError
      addIssue({ message: next === undefined ? message : `${message}. ${next}` })
      return NEVER
    }
  }),
)

const entries = Object.fromEntries(Object.keys(longForms).map((key) => [key, v.optional(text)]))
const longForm = v.pipe(
  v.strictObject({
    ...(entries as Record<LongForm, v.OptionalSchema<v.StringSchema<undefined>, undefined>>),
    labels: v.optional(v.pipe(textMap, v.minEntries(1, "needs at least one label"))),
    container: v.optional(text),
  }),
  checked((object) => {
    const named = [...Object.keys(longForms), "labels"].filter((key) => object[key as LongForm] !== undefined)
    return named.length === 1 ? undefined : "names one workload, or labels"
  }),
  v.transform((object): Target => {
    const container = object.container === undefined ? {} : { container: object.container }
    if (object.labels !== undefined) return { kind: "label", labels: object.labels, ...container }
    const key = (Object.keys(longForms) as LongForm[]).find((each) => object[each] !== undefined)!
    return { kind: longForms[key], name: object[key]!, ...container }
  }),
)

const path = picking([shortForm, longForm], (value) => (isRecord(value) ? longForm : shortForm))

/** `path` absent: no target. Written as a text, as a workload's object, or with a namespace beside `path`. */
export const target = short(
  v.strictObject({
    path: noted(v.optional(path), { env: "MIRRORD_IMPERSONATED_TARGET" }),
    namespace: maybeText({ env: "MIRRORD_TARGET_NAMESPACE" }),
  }),
  v.union([shortForm, longForm]),
  (value) => {
    if (typeof value === "string") return { path: value }
    const workload = isRecord(value) && [...Object.keys(longForms), "labels"].some((key) => key in value)
    return workload ? { path: value } : undefined
  },
)
