import * as v from "valibot"

export const dbBranches = v.array(v.looseObject({ type: v.string() }))
