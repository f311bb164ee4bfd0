import * as v from "valibot"
import { checked, flagOr, maybeText, maybeTexts, noted, picking, text, u64, whole } from "./values.ts"

const infinite = v.literal("infinite")
const duration = picking([u64, infinite], (value) => (typeof value === "string" ? infinite : u64))

/** Further keys are allowed and mean nothing. */
const mounts = v.optional(
  v.array(
    v.pipe(
      v.looseObject({
        mount_at: text,
        type: v.optional(v.picklist(["text", "binary"])),
        payload: v.optional(text),
        from_file: v.optional(text),
      }),
      checked(({ type, payload, from_file }) => {
        if ((payload === undefined) === (from_file === undefined))
          return 'needs exactly one of "payload" and "from_file"'
        if ((payload === undefined) !== (type === undefined)) return '"type" belongs to "payload", and only there'
        return undefined
      }),
    ),
  ),
  [],
)

export const preview = v.pipe(
  v.strictObject({
    image: maybeText({ env: "MIRRORD_PREVIEW_IMAGE" }),
    ttl_mins: noted(v.optional(duration), { env: "MIRRORD_PREVIEW_TTL_MINS" }),
    ttl_secs: noted(v.optional(duration), { env: "MIRRORD_PREVIEW_TTL_SECS" }),
    creation_timeout_secs: noted(v.optional(u64, 60), { env: "MIRRORD_PREVIEW_CREATION_TIMEOUT_SECS" }),
    replicas: noted(v.optional(whole(0x7fff_ffff), 1), { env: "MIRRORD_PREVIEW_REPLICAS" }),
    labels: v.optional(
      v.pipe(
        v.strictObject({ include: maybeTexts(), exclude: maybeTexts() }),
        checked(({ include, exclude }) =>
          include && exclude ? '"include" and "exclude" cannot stand together' : undefined,
        ),
      ),
    ),
    idle: v.optional(
      v.strictObject({
        start_idle: flagOr(false, { env: "MIRRORD_PREVIEW_START_IDLE" }),
        sleep_after_secs: noted(v.optional(whole(Number.MAX_SAFE_INTEGER, 30)), {
          env: "MIRRORD_PREVIEW_IDLE_SLEEP_AFTER_SECS",
        }),
        wake_timeout_secs: noted(v.optional(whole(Number.MAX_SAFE_INTEGER, 1)), {
          env: "MIRRORD_PREVIEW_IDLE_WAKE_TIMEOUT_SECS",
        }),
      }),
      {},
    ),
    config_mounts: mounts,
    secret_mounts: mounts,
  }),
  checked(({ ttl_mins, ttl_secs }) =>
    ttl_mins !== undefined && ttl_secs !== undefined ? '"ttl_mins" and "ttl_secs" cannot stand together' : undefined,
  ),
)
