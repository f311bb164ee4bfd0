import { createHash } from "node:crypto"
import type { Values } from "./values.ts"

/**
 * The plugins' settings as JSON text, byte for byte as the chart's `toJson` writes them: keys sorted, and characters that
 * mean something in HTML escaped. The mode of impersonation has a value of its own, because the operator's rights depend on it.
 */
export function pluginSettings({ plugins, impersonation }: Values): string {
  const text = JSON.stringify(sorted({ ...plugins, "rbac-impersonation": { mode: impersonation.mode } }))
  return text.replace(/[<>&]/g, (character) => `\\u00${character.charCodeAt(0).toString(16)}`)
}

/** In the pods' annotations, so that a change of settings restarts them. */
export function settingsDigest(values: Values): string {
  return createHash("sha256").update(pluginSettings(values)).digest("hex")
}

function sorted(value: unknown): unknown {
  if (typeof value !== "object" || value === null) return value
  if (Array.isArray(value)) return value.map(sorted)
  const entries = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1))
  return Object.fromEntries(entries.map(([key, of]) => [key, sorted(of)]))
}
