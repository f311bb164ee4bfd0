import * as v from "valibot"
import { jsonText } from "./json-text.ts"

/*
 * What the chart may say about agents: a JSON object with the keys of the client configuration's `agent` section that
 * concern the agent itself. Unknown keys are errors.
 */

const count = v.pipe(v.number(), v.integer(), v.minValue(0))
const strings = v.record(v.string(), v.string())
const profile = v.strictObject({ type: v.string(), localhost_profile: v.optional(v.string()) })

export const agentSection = v.strictObject({
  log_level: v.optional(v.string()),
  json_log: v.optional(v.boolean()),
  image_pull_policy: v.optional(v.picklist(["Always", "IfNotPresent", "Never"])),
  image_pull_secrets: v.optional(v.array(v.strictObject({ name: v.string() }))),
  communication_timeout: v.optional(count),
  flush_connections: v.optional(v.boolean()),
  disabled_capabilities: v.optional(v.array(v.picklist(["SYS_ADMIN", "SYS_PTRACE", "NET_ADMIN"]))),
  least_capabilities: v.optional(v.boolean()),
  tolerations: v.optional(v.array(v.record(v.string(), v.unknown()))),
  resources: v.optional(v.record(v.string(), v.unknown())),
  privileged: v.optional(v.boolean()),
  external_ip_fix: v.optional(v.boolean()),
  nftables: v.optional(v.boolean()),
  dns: v.optional(v.strictObject({ timeout: v.optional(count), attempts: v.optional(count) })),
  labels: v.optional(strings),
  annotations: v.optional(strings),
  node_selector: v.optional(strings),
  service_account: v.optional(v.string()),
  priority_class: v.optional(v.string()),
  metrics: v.optional(v.string()),
  inject_headers: v.optional(v.boolean()),
  override_cache_control: v.optional(v.boolean()),
  max_body_buffer_size: v.optional(count),
  max_body_buffer_timeout: v.optional(count),
  http_detection_timeout: v.optional(count),
  security_context: v.optional(
    v.strictObject({ app_armor_profile: v.optional(profile), seccomp_profile: v.optional(profile) }),
  ),
  clean_iptables_on_start: v.optional(v.boolean()),
  disable_mesh_sidecar_injection: v.optional(v.boolean()),
  jaq_time_limit: v.optional(count),
})

/** Environment variables by name, as Kubernetes allows them. */
export const environmentVariables = v.record(
  v.pipe(v.string(), v.regex(/^[-._a-zA-Z][-._a-zA-Z0-9]*$/, "not a variable's name")),
  v.string(),
)

export const agentExtraEnv = v.pipe(jsonText, environmentVariables)

/** JSON text of the section in the names of core/kube/agent-options.ts; only keys that were given appear. */
export const agentConfig = v.pipe(
  jsonText,
  agentSection,
  v.transform((given) => {
    const options = {
      logLevel: given.log_level,
      jsonLog: given.json_log,
      imagePullPolicy: given.image_pull_policy,
      imagePullSecrets: given.image_pull_secrets,
      communicationTimeoutSeconds: given.communication_timeout,
      flushConnections: given.flush_connections,
      disabledCapabilities: given.disabled_capabilities,
      leastCapabilities: given.least_capabilities,
      tolerations: given.tolerations,
      resources: given.resources,
      privileged: given.privileged,
      externalIpFix: given.external_ip_fix,
      nftables: given.nftables,
      dnsTimeoutSeconds: given.dns?.timeout,
      dnsAttempts: given.dns?.attempts,
      labels: given.labels,
      annotations: given.annotations,
      nodeSelector: given.node_selector,
      serviceAccount: given.service_account,
      priorityClass: given.priority_class,
      metrics: given.metrics,
      injectHeaders: given.inject_headers,
      overrideCacheControl: given.override_cache_control,
      maxBodyBufferBytes: given.max_body_buffer_size,
      maxBodyBufferTimeoutMs: given.max_body_buffer_timeout,
      httpDetectionTimeoutSeconds: given.http_detection_timeout,
      securityContext: given.security_context && {
        appArmorProfile: profileOf(given.security_context.app_armor_profile),
        seccompProfile: profileOf(given.security_context.seccomp_profile),
      },
      cleanIptablesOnStart: given.clean_iptables_on_start,
      disableMeshSidecarInjection: given.disable_mesh_sidecar_injection,
      jqTimeLimit: given.jaq_time_limit,
    }
    const present = Object.entries(options).filter(([, value]) => value !== undefined)
    return Object.fromEntries(present) as Partial<typeof options>
  }),
)

export type AgentChoices = v.InferOutput<typeof agentConfig>

function profileOf(given: v.InferOutput<typeof profile> | undefined) {
  return given && { type: given.type, localhostProfile: given.localhost_profile }
}
