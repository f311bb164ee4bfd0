import * as v from "valibot"

/*
 * What a 3.250 client deserializes, as strictly as it does: unknown fields are ignored, a field that is missing or of another
 * type makes the whole answer unreadable.
 */

const text = v.string()
const whole = (max: number) => v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(max))
const u64 = whole(Number.MAX_SAFE_INTEGER)
const semver = v.pipe(
  text,
  v.regex(
    /^(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(-[0-9A-Za-z-]+(\.[0-9A-Za-z-]+)*)?(\+[0-9A-Za-z-]+(\.[0-9A-Za-z-]+)*)?$/,
  ),
)
const metadata = v.object({
  name: v.nullish(text),
  namespace: v.nullish(text),
  creationTimestamp: v.nullish(v.pipe(text, v.isoTimestamp())),
})

const lockedPort = v.union([
  v.object({ port: whole(65_535), kind: text, filter: v.nullish(text) }),
  v.tuple([whole(65_535), text, v.nullish(text)]),
])

export const session = v.object({
  id: v.nullish(v.pipe(text, v.regex(/^(0|[1-9A-F][0-9A-F]{0,15})$/))),
  duration_secs: u64,
  user: v.pipe(text, v.regex(/^[^/]*\/.*@.*$/)),
  target: text,
  namespace: v.nullish(text),
  locked_ports: v.nullish(v.array(lockedPort)),
  user_id: v.nullish(v.pipe(text, v.regex(/^[A-Za-z0-9+/]{43}$/))),
  key: v.nullish(text),
  http_filter: v.nullish(v.object({ headerFilter: v.nullish(text) })),
})
export type Session = v.InferOutput<typeof session>

export const operator = v.object({
  metadata,
  spec: v.object({
    operator_version: semver,
    default_namespace: text,
    features: v.nullish(v.array(v.literal("ProxyApi"))),
    supported_features: v.nullish(v.array(text)),
    license: v.object({
      name: text,
      organization: text,
      expire_at: v.pipe(text, v.isoDate()),
      // Null is readable, and then every exec fails while it prepares its certificate.
      fingerprint: v.pipe(text, v.regex(/^[A-Za-z0-9+/]{43}$/)),
      subscription_id: v.nullish(text),
    }),
    protocol_version: v.nullish(semver),
    copy_target_enabled: v.nullish(v.boolean()),
    operator_namespace: v.nullish(text),
  }),
  status: v.nullish(
    v.object({
      sessions: v.array(session),
      statistics: v.nullish(v.object({ dau: u64, mau: u64 })),
      copy_targets: v.nullish(
        v.array(v.object({ pod_name: text, copy_target: v.object({ metadata, spec: v.looseObject({}) }) })),
      ),
    }),
  ),
})
export type OperatorObject = v.InferOutput<typeof operator>

/** Every field has a default in the client; what we send must be complete all the same, or users see an empty message. */
export const status = v.strictObject({
  kind: v.literal("Status"),
  apiVersion: v.literal("v1"),
  metadata: v.object({}),
  status: v.picklist(["Success", "Failure"]),
  message: v.pipe(text, v.nonEmpty()),
  reason: v.optional(text, ""),
  code: whole(65_535),
  details: v.optional(v.unknown()),
})
export type Status = v.InferOutput<typeof status>

export const sessions = v.object({
  apiVersion: text,
  kind: text,
  metadata: v.object({}),
  items: v.array(v.object({ metadata, spec: v.object({ session }) })),
})

export const resourceList = v.object({
  groupVersion: v.literal("operator.metalbear.co/v1"),
  resources: v.array(
    v.object({ name: text, singularName: text, namespaced: v.boolean(), kind: text, verbs: v.array(text) }),
  ),
})

export const credential = v.object({
  metadata,
  spec: v.object({ csr: text, kind: v.picklist(["regular", "ci"]) }),
  status: v.object({ certificate: text }),
})

export const certificateText = text

export const target = v.object({
  metadata,
  spec: v.object({
    target: v.nullable(
      v.union([
        v.strictObject({ deployment: text, container: v.nullish(text) }),
        v.strictObject({ pod: text, container: v.nullish(text) }),
        v.strictObject({ rollout: text, container: v.nullish(text) }),
        v.strictObject({ job: text, container: v.nullish(text) }),
        v.strictObject({ cron_job: text, container: v.nullish(text) }),
        v.strictObject({ stateful_set: text, container: v.nullish(text) }),
        v.strictObject({ service: text, container: v.nullish(text) }),
        v.strictObject({ replica_set: text, container: v.nullish(text) }),
        v.strictObject({ labels: v.record(text, text), container: v.nullish(text) }),
      ]),
    ),
  }),
})
export const targets = v.object({ items: v.array(target) })

/** Objects of Kubernetes itself, as far as the client looks at them before it connects. */
export const workload = v.object({
  metadata: v.object({ name: text, namespace: text }),
  spec: v.object({ selector: v.object({ matchLabels: v.record(text, text) }) }),
})
export const objects = v.object({ items: v.array(v.object({ metadata: v.object({ name: text }) })) })
export const serverVersion = v.object({ major: text, minor: text, gitVersion: text, platform: text })
