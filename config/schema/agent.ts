import * as v from "valibot"
import { flagOr, kubernetesObject, maybeFlag, maybeText, noted, short, text, textMap, u16, u32, u64 } from "./values.ts"

const profileType = v.optional(v.strictObject({ type: text, localhost_profile: v.optional(text) }))

/** `{registry, tag}` may hold more keys, which mean nothing. */
const image = v.pipe(
  short(v.looseObject({ registry: v.optional(text), tag: v.optional(text) }), text, (value) =>
    typeof value === "string" ? { whole: value } : undefined,
  ),
  v.transform(({ registry, tag, whole }) => ({ registry, tag, whole: whole as string | undefined })),
)

/** How the agent is started when there is no operator. */
export const agent = v.strictObject({
  log_level: noted(v.optional(text, "info"), { env: "MIRRORD_AGENT_RUST_LOG" }),
  json_log: flagOr(false, { env: "MIRRORD_AGENT_JSON_LOG" }),
  /** Default: the kubeconfig's namespace. */
  namespace: maybeText({ env: "MIRRORD_AGENT_NAMESPACE" }),
  /** `whole` is a complete reference; else registry and tag, each absent for the default. */
  image: noted(v.optional(image), { env: "MIRRORD_AGENT_IMAGE" }),
  image_pull_policy: noted(v.optional(text, "IfNotPresent"), { env: "MIRRORD_AGENT_IMAGE_PULL_POLICY" }),
  image_pull_secrets: v.optional(v.array(v.strictObject({ name: text }))),
  /** Seconds the finished job is kept. */
  ttl: noted(v.optional(u16, 1), { env: "MIRRORD_AGENT_TTL" }),
  ephemeral: flagOr(false, { env: "MIRRORD_EPHEMERAL_CONTAINER" }),
  /** Seconds; 30 when absent. */
  communication_timeout: noted(v.optional(u16), { env: "MIRRORD_AGENT_COMMUNICATION_TIMEOUT" }),
  /** Seconds. */
  startup_timeout: noted(v.optional(u64, 60), { env: "MIRRORD_AGENT_STARTUP_TIMEOUT" }),
  flush_connections: flagOr(true, { env: "MIRRORD_AGENT_STEALER_FLUSH_CONNECTIONS", unstable: true }),
  disabled_capabilities: v.optional(v.array(v.picklist(["SYS_ADMIN", "SYS_PTRACE", "NET_ADMIN"]))),
  /** podside's own: nothing but the capabilities the agent names. Then files only their owner may read stay closed. */
  least_capabilities: flagOr(false),
  /**
   * podside's own: how a client without an operator reaches its agent. `auto` begins with a port-forward and goes on by the API
   * server's `pods/proxy`, which is faster, where the user may and that works. `pod-proxy` alone waits until the pod's address is known.
   */
  transport: noted(v.optional(v.picklist(["auto", "port-forward", "pod-proxy"]), "auto"), {
    env: "PODSIDE_AGENT_TRANSPORT",
  }),
  tolerations: v.optional(v.array(kubernetesObject)),
  resources: v.optional(kubernetesObject),
  check_out_of_pods: flagOr(true),
  privileged: flagOr(false),
  external_ip_fix: flagOr(true, { env: "MIRRORD_AGENT_EXTERNAL_IP_FIX" }),
  /** Absent: the agent finds out. */
  nftables: maybeFlag(),
  /** Seconds, and a number of attempts. */
  dns: v.optional(v.strictObject({ timeout: v.optional(u32), attempts: v.optional(u32) }), {}),
  labels: v.optional(textMap),
  annotations: v.optional(textMap),
  node_selector: v.optional(textMap),
  service_account: maybeText(),
  /** `ip:port` of a Prometheus listener. */
  metrics: maybeText(),
  exclude_from_mesh: flagOr(false, { env: "MIRRORD_AGENT_EXCLUDE_FROM_MESH" }),
  priority_class: maybeText(),
  inject_headers: flagOr(false),
  override_cache_control: flagOr(true),
  /** Bytes. */
  max_body_buffer_size: v.optional(u32, 65535),
  /** Milliseconds. */
  max_body_buffer_timeout: v.optional(u32, 1000),
  /** Seconds. */
  http_detection_timeout: noted(v.optional(u64, 2), { env: "MIRRORD_AGENT_HTTP_DETECTION_TIMEOUT" }),
  security_context: v.optional(v.strictObject({ app_armor_profile: profileType, seccomp_profile: profileType })),
  clean_iptables_on_start: maybeFlag({ env: "MIRRORD_AGENT_CLEAN_IPTABLES_ON_START" }),
  disable_mesh_sidecar_injection: flagOr(true),
  /** Seconds, as mirrord's agent takes it, though documented there as milliseconds. */
  jaq_time_limit: v.optional(u64, 1),
  test_error: flagOr(false, { env: "MIRRORD_AGENT_TEST_ERROR", unstable: true }),
})
