import { isRecord } from "./schema/values.ts"

/** Keys whose feature podside may not have yet; `false` while it has not. What stands below a key counts with it. */
export const supportedFeatures: Record<string, boolean> = {
  api: false,
  "agent.check_out_of_pods": false,
  ci: false,
  container: false,
  external_proxy: false,
  internal_proxy: false,
  sip_binaries: false,
  skip_sip: false,
  skip_processes: false,
  skip_build_tools: false,
  skip_extra_build_tools: false,
  "feature.db_branches": false,
  "feature.env.load_from_process": false,
  "feature.magic.auto_mount": true,
  "feature.magic.turbo": false,
  "feature.network.incoming.listen_ports": true,
  "feature.preview": false,
  "feature.split_queues": false,
  "experimental.tcp_ping4_mock": true,
  "experimental.trust_any_certificate": false,
  "experimental.enable_exec_hooks_linux": false,
  "experimental.hide_ipv6_interfaces": false,
  "experimental.disable_reuseaddr": false,
  "experimental.use_dev_null": false,
  "experimental.ignore_system_proxy_config": false,
  "experimental.browser_extension_config": false,
  "experimental.sip_log_destination": false,
  "experimental.dlopen_cgo": false,
  "experimental.go_asmcgocall": false,
  "experimental.guard_std_fds": false,
}

/** One line for every key in use whose feature is missing. Saying no to such a feature is no use. */
export function unsupportedKeys(raw: Record<string, unknown>): string[] {
  return Object.entries(supportedFeatures)
    .filter(([path, supported]) => !supported && isUsed(raw, path))
    .map(([path]) => `"${path}" is a feature podside does not have yet`)
}

function isUsed(raw: Record<string, unknown>, path: string): boolean {
  let value: unknown = raw
  for (const key of path.split(".")) value = isRecord(value) ? value[key] : undefined
  return value !== undefined && value !== false
}
