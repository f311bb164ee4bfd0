import { isRecord } from "./schema/values.ts"

/** Keys whose feature podside may not have yet; `false` while it has not. A key below counts with its parent. */
export const supportedFeatures: Record<string, boolean> = {
  multi_cluster: false,
  container: false,
  external_proxy: false,
  ci: false,
  sip_binaries: false,
  skip_sip: false,
  skip_processes: false,
  skip_build_tools: false,
  skip_extra_build_tools: false,
  api: false,
  "feature.copy_target": false,
  "feature.split_queues": false,
  "feature.db_branches": false,
  "feature.preview": false,
  experimental: false,
}

/** One line for every key of a file that podside accepts without doing anything about it. */
export function unsupportedKeys(raw: Record<string, unknown>): string[] {
  return Object.entries(supportedFeatures)
    .filter(([path, supported]) => !supported && isUsed(raw, path))
    .map(([path]) => `"${path}" is a feature podside does not have yet; it has no effect`)
}

function isUsed(raw: Record<string, unknown>, path: string): boolean {
  let value: unknown = raw
  for (const key of path.split(".")) value = isRecord(value) ? value[key] : undefined
  return value !== undefined && value !== false
}
