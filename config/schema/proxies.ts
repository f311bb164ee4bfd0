import * as v from "valibot"
import { flagOr, maybeFlag, maybeText, noted, text, u64 } from "./values.ts"

const proxyLog = "mirrord=info,warn"

/** Times in seconds. */
export const internalProxy = v.strictObject({
  start_idle_timeout: v.optional(u64, 60),
  idle_timeout: v.optional(u64, 5),
  socket_timeout: v.optional(u64, 31_536_000),
  ping_interval: v.optional(u64, 30),
  log_level: v.optional(text, proxyLog),
  log_destination: maybeText(),
  json_log: flagOr(true),
  process_logging_interval: v.optional(u64, 60),
})

/** Times in seconds. */
export const externalProxy = v.strictObject({
  tls_enable: flagOr(true),
  start_idle_timeout: v.optional(u64, 60),
  idle_timeout: v.optional(u64, 5),
  log_level: v.optional(text, proxyLog),
  log_destination: maybeText(),
  json_log: flagOr(true),
  host_ip: v.optional(v.pipe(text, v.ip())),
})

export const container = v.strictObject({
  cli_image: maybeText(),
  cli_extra_args: v.optional(v.array(text), []),
  cli_prevent_cleanup: flagOr(false),
  cli_image_lib_path: maybeText(),
  override_host_ip: v.optional(v.pipe(text, v.ip())),
  host_gateway_detection: flagOr(true),
  cli_tls_path: v.optional(text, "/opt/mirrord/tls/mirrord-tls.pem"),
  platform: maybeText(),
})

const noEffect = "it has no effect any more"

export const experimental = v.strictObject({
  tcp_ping4_mock: flagOr(true),
  trust_any_certificate: flagOr(false),
  enable_exec_hooks_linux: flagOr(true),
  hide_ipv6_interfaces: flagOr(false),
  disable_reuseaddr: maybeFlag(),
  use_dev_null: flagOr(true),
  /** Milliseconds; 0 = none. */
  idle_local_http_connection_timeout: v.optional(u64, 3000),
  ignore_system_proxy_config: flagOr(false),
  browser_extension_config: flagOr(false),
  sip_log_destination: maybeText(),
  non_blocking_tcp_connect: flagOr(true, { deprecated: noEffect }),
  dlopen_cgo: flagOr(false),
  /** Milliseconds. */
  latency: noted(
    v.optional(v.strictObject({ transmit_delay: v.optional(u64, 0), receive_delay: v.optional(u64, 0) }), {}),
    { deprecated: noEffect },
  ),
  applev: v.optional(v.strictObject({})),
  sip_utils: flagOr(true, { deprecated: noEffect }),
  go_asmcgocall: maybeFlag(),
  guard_std_fds: maybeFlag(),
})
