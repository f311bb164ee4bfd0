import { createHash } from "node:crypto"
import { chartJson } from "./chart-json.ts"
import type { Values } from "./values.ts"

/** The plugins' settings. The mode of impersonation has a value of its own, because the operator's rights depend on it. */
export function pluginSettings({ plugins, impersonation }: Values): string {
  return chartJson({ ...plugins, "rbac-impersonation": { mode: impersonation.mode } })
}

/** In the pods' annotations, so that a change of settings restarts them. */
export function settingsDigest(values: Values): string {
  return createHash("sha256").update(pluginSettings(values)).digest("hex")
}
