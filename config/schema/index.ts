import * as v from "valibot"
import { agent } from "./agent.ts"
import { feature } from "./feature.ts"
import { container, experimental, externalProxy, internalProxy } from "./proxies.ts"
import { target } from "./target.ts"
import { checked, flagOr, maybeFlag, maybeText, maybeTexts, noted, text, texts, u32, u64 } from "./values.ts"

const startupRetry = v.pipe(
  v.strictObject({
    /** Milliseconds. */
    min_ms: v.optional(u64, 500),
    /** Milliseconds. */
    max_ms: v.optional(u64, 5000),
    max_retries: v.optional(u32, 2),
  }),
  checked(({ min_ms, max_ms }) =>
    max_ms === 0 || min_ms > max_ms ? '"max_ms" must be above 0 and not below "min_ms"' : undefined,
  ),
)

function headerProblem(value: string): string | undefined {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what a header may not hold
  return /^[^\x00-\x08\x0a-\x1f\x7f]*$/.test(value) ? undefined : "holds a character no HTTP header may have"
}

/** The client's file: mirrord's keys, as mirrord 3.250 has them. Short forms are objects afterwards. */
export const configSchema = v.strictObject({
  accept_invalid_certificates: maybeFlag({ env: "MIRRORD_ACCEPT_INVALID_CERTIFICATES" }),
  skip_processes: maybeTexts({ env: "MIRRORD_SKIP_PROCESSES" }),
  skip_build_tools: flagOr(true, { env: "MIRRORD_SKIP_BUILD_TOOLS" }),
  skip_extra_build_tools: maybeTexts({ env: "MIRRORD_SKIP_EXTRA_BUILD_TOOLS" }),
  operator: maybeFlag({ env: "MIRRORD_OPERATOR_ENABLE" }),
  multi_cluster: maybeFlag({ env: "MIRRORD_MULTI_CLUSTER" }),
  api: flagOr(true, { env: "MIRRORD_API" }),
  profile: maybeText(),
  kubeconfig: maybeText({ env: "MIRRORD_KUBECONFIG" }),
  kube_context: maybeText({ env: "MIRRORD_KUBE_CONTEXT" }),
  sip_binaries: maybeTexts(),
  skip_sip: noted(v.optional(texts, "git"), { env: "MIRRORD_SKIP_SIP" }),
  target: v.optional(target, {}),
  agent: v.optional(agent, {}),
  container: noted(v.optional(container, {}), { unstable: true }),
  feature: v.optional(feature, {}),
  telemetry: flagOr(true, { env: "MIRRORD_TELEMETRY" }),
  internal_proxy: v.optional(internalProxy, {}),
  external_proxy: v.optional(externalProxy, {}),
  use_proxy: flagOr(true, { env: "MIRRORD_PROXY" }),
  experimental: v.optional(experimental, {}),
  startup_retry: v.optional(startupRetry, {}),
  ci: v.optional(v.strictObject({ output_dir: maybeText() }), {}),
  /** Session key; a loaded configuration always has one. */
  key: maybeText({ env: "MIRRORD_KEY" }),
  traceparent: maybeText({ env: "TRACEPARENT" }),
  /** Sent as the HTTP header of that name. */
  baggage: noted(v.optional(v.pipe(text, checked(headerProblem))), { env: "BAGGAGE" }),
})

export type FileConfig = v.InferOutput<typeof configSchema>

/** A whole configuration: every default filled in, short forms written out, the session key chosen. */
export type Config = FileConfig & { key: string }
