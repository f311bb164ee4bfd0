import { keysOf, noteOf } from "./env-overrides.ts"
import { configSchema } from "./schema/index.ts"
import { type AnySchema, isRecord } from "./schema/values.ts"

/** A line for every key in use that is unstable or deprecated. */
export function usageNotes(raw: Record<string, unknown>): string[] {
  const lines: string[] = []
  const visit = (schema: AnySchema, value: unknown, path: string) => {
    if (!isRecord(value)) return
    for (const [key, child] of Object.entries(keysOf(schema) ?? {})) {
      if (value[key] === undefined) continue
      const { unstable, deprecated } = noteOf(child)
      const name = path === "" ? key : `${path}.${key}`
      if (unstable) lines.push(`"${name}" is marked as unstable; it may change`)
      if (deprecated !== undefined) lines.push(`"${name}" is deprecated: ${deprecated}`)
      visit(child, value[key], name)
    }
  }
  visit(configSchema, raw, "")
  return lines
}
