import { toJsonSchema } from "@valibot/to-json-schema"
import { noteOf } from "./env-overrides.ts"
import { configSchema } from "./schema/index.ts"

/** JSON Schema of the configuration file, for editors; short forms included. */
export function configJsonSchema(): Record<string, unknown> {
  const schema = toJsonSchema(configSchema, {
    typeMode: "input",
    errorMode: "ignore",
    overrideSchema({ valibotSchema, jsonSchema }) {
      const { deprecated } = noteOf(valibotSchema as never)
      return deprecated === undefined ? undefined : { ...jsonSchema, deprecated: true, description: deprecated }
    },
  })
  return { ...schema, title: "podside configuration" }
}
