import { isRecord } from "./schema/values.ts"

/** Why podside does not obey a key: the feature is missing yet, or there is nothing to do, for a reason that is told. */
type Support = "missing" | { needless: string }

const macOs: Support = { needless: "it is for macOS, where podside runs no programs" }
const noLayer: Support = { needless: "it is about a library inside of the program, and podside loads none" }
const noProxy: Support = { needless: "podside has no proxy process of its own beside the program" }

/** The keys of mirrord's that are not obeyed. What stands below a key counts with it. */
const keySupport: Record<string, Support> = {
  api: "missing",
  "agent.check_out_of_pods": { needless: "Kubernetes itself says when a node is full, and that is passed on" },
  ci: "missing",
  container: "missing",
  external_proxy: "missing",
  "internal_proxy.idle_timeout": noProxy,
  "internal_proxy.json_log": noProxy,
  "internal_proxy.log_destination": noProxy,
  "internal_proxy.log_level": noProxy,
  "internal_proxy.ping_interval": { needless: "a lost agent is noticed within five seconds" },
  "internal_proxy.process_logging_interval": noProxy,
  "internal_proxy.socket_timeout": noProxy,
  sip_binaries: macOs,
  skip_sip: macOs,
  "feature.db_branches": "missing",
  "feature.env.load_from_process": { needless: "the pod's variables are there before the program starts" },
  "feature.magic.turbo": { needless: "a server of the session is reached on localhost by every process of it" },
  "feature.preview": "missing",
  "feature.split_queues": "missing",
  telemetry: { needless: "podside sends no statistics" },
  "experimental.trust_any_certificate": macOs,
  "experimental.enable_exec_hooks_linux": noLayer,
  "experimental.hide_ipv6_interfaces": "missing",
  "experimental.disable_reuseaddr": macOs,
  "experimental.use_dev_null": { needless: "a remote file is a file in memory" },
  "experimental.ignore_system_proxy_config": macOs,
  "experimental.browser_extension_config": "missing",
  "experimental.sip_log_destination": macOs,
  "experimental.applev": macOs,
  "experimental.dlopen_cgo": noLayer,
  "experimental.go_asmcgocall": noLayer,
  "experimental.guard_std_fds": { needless: "podside puts nothing on a program's low descriptors" },
}

/** One line for every key in use that podside does not obey. Saying no to a feature that is missing is no use of it. */
export function unsupportedKeys(raw: Record<string, unknown>): string[] {
  return Object.entries(keySupport).flatMap(([path, support]) => {
    if (!isUsed(raw, path)) return []
    return support === "missing"
      ? [`"${path}" is a feature podside does not have yet`]
      : [`"${path}" makes no difference: ${support.needless}`]
  })
}

function isUsed(raw: Record<string, unknown>, path: string): boolean {
  let value: unknown = raw
  for (const key of path.split(".")) value = isRecord(value) ? value[key] : undefined
  return value !== undefined && value !== false
}
