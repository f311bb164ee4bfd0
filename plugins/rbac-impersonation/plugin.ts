import * as v from "valibot"
import { definePlugin } from "../../core/plugin.ts"
import { afterReview } from "./after-review.ts"
import { asCaller } from "./as-caller.ts"

/** Asks Kubernetes about targets on behalf of whoever asks the operator, so that RBAC stays in charge. */
export default definePlugin({
  name: "rbac-impersonation",
  config: v.strictObject({
    mode: v.optional(
      v.pipe(
        v.picklist(["impersonate", "review"]),
        v.description(
          "impersonate: ask as the caller. review: ask for a SubjectAccessReview first, then as the operator.",
        ),
      ),
      "impersonate",
    ),
  }),
  operator: ({ config }) => ({
    provideCallerAccess: () => (config.mode === "impersonate" ? asCaller : afterReview),
  }),
})
