import * as v from "valibot"

/** A text that holds JSON, as what it says. */
export const jsonText = v.pipe(
  v.string(),
  v.rawTransform<string, unknown>(({ dataset, addIssue, NEVER }) => {
    try {
      return JSON.parse(dataset.value)
    } catch {
      addIssue({ message: "not JSON" })
      return NEVER
    }
  }),
)
