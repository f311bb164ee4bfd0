import * as v from "valibot"
import { checked, flagOr, maybeText, maybeTexts, short, textMap } from "./values.ts"

const object = v.pipe(
  v.strictObject({
    /** Wildcards `*` and `?`. */
    include: maybeTexts({ env: "MIRRORD_OVERRIDE_ENV_VARS_INCLUDE" }),
    exclude: maybeTexts({ env: "MIRRORD_OVERRIDE_ENV_VARS_EXCLUDE" }),
    override: v.optional(textMap),
    load_from_process: flagOr(false, { env: "MIRRORD_ENV_LOAD_FROM_PROCESS" }),
    /** Names removed from the program's environment at the end. */
    unset: maybeTexts(),
    env_file: maybeText({ env: "MIRRORD_OVERRIDE_ENV_VARS_FILE" }),
    /** Pattern for the name of a variable, to the value it gets. */
    mapping: v.optional(textMap),
  }),
  checked(({ include, exclude }) =>
    include !== undefined && exclude !== undefined ? '"include" and "exclude" cannot stand together' : undefined,
  ),
)

/** The pod's variables. `false` fetches none. */
export const env = short(object, v.boolean(), (value) =>
  value === true ? {} : value === false ? { exclude: "*" } : undefined,
)
