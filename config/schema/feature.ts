import * as v from "valibot"
import { dbBranches } from "./databases.ts"
import { env } from "./env.ts"
import { fs } from "./fs.ts"
import { network } from "./network.ts"
import { preview } from "./preview.ts"
import { splitQueues } from "./queues.ts"
import { flagOr, noted, short, text } from "./values.ts"

const copyTarget = short(
  v.strictObject({
    enabled: flagOr(true),
    scale_down: flagOr(false),
    exclude_containers: v.optional(v.array(text), []),
    exclude_init_containers: v.optional(v.array(text), []),
  }),
  v.boolean(),
  (value) => (typeof value === "boolean" ? { enabled: value } : undefined),
)

export const feature = v.strictObject({
  env: v.optional(env, {}),
  fs: v.optional(fs, {}),
  network: v.optional(network, {}),
  copy_target: v.optional(copyTarget, false),
  /** Host name calls answer with the target's name. */
  hostname: flagOr(true),
  magic: v.optional(v.strictObject({ aws: flagOr(true), auto_mount: flagOr(true), turbo: flagOr(true) }), {}),
  split_queues: noted(v.optional(splitQueues, []), { unstable: true }),
  db_branches: noted(v.optional(dbBranches, []), { unstable: true }),
  preview: v.optional(preview, {}),
})
