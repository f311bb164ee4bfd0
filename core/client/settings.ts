import { parseDnsFilter, parseOutgoingFilter } from "../../config/address-filter.ts"
import type { Config } from "../../config/load.ts"
import { escapePattern } from "../../config/pattern.ts"
import type { AgentOptions } from "../kube/agent-options.ts"
import type { KubeOptions } from "../kube/kubeconfig.ts"
import type { PodFacts } from "./agent-session.ts"
import { toHttpFilter } from "./features/incoming/http-filter.ts"
import type { IncomingOptions, TlsDelivery } from "./features/incoming/options.ts"
import type { FeatureOptions } from "./features/options.ts"
import { compileAny } from "./features/pattern.ts"
import { certificatesAt } from "./pem-files.ts"

/** podside's own image, as `npm run image` names it. */
const defaultAgentImage = { registry: "podside", tag: "dev" }
const defaultCommunicationTimeoutSeconds = 30

type Network = Config["feature"]["network"]

/**
 * The features' options from a loaded configuration; what belongs to a debugger stays local.
 * @throws AppError "config-bad-file" when a file it names cannot be read
 */
export function featureOptions(config: Config, debuggerPorts: ReadonlySet<number> = new Set()): FeatureOptions {
  const { env, fs, network, hostname } = config.feature
  const targetless = config.target.path === undefined || config.target.path.kind === "targetless"
  const { dns } = network
  return {
    env: {
      include: env.include,
      exclude: env.exclude,
      envFile: env.env_file,
      mapping: Object.entries(env.mapping ?? {}),
      override: env.override,
      unset: env.unset,
    },
    envLimitMs: (config.agent.communication_timeout ?? defaultCommunicationTimeoutSeconds) * 1_000,
    files: {
      mode: targetless && fs.mode !== "local" ? "localwithoverrides" : fs.mode,
      readWrite: fs.read_write,
      readOnly: fs.read_only,
      local: fs.local,
      notFound: fs.not_found,
      mapping: Object.entries(fs.mapping ?? {}),
      readAheadBytes: fs.readonly_file_buffer,
    },
    ...(dns.enabled ? { dns: { filter: directionFilter(dns.filter, parseDnsFilter) } } : {}),
    outgoing: {
      tcp: network.outgoing.tcp,
      udp: network.outgoing.udp,
      ignoreLocalhost: network.outgoing.ignore_localhost,
      filter: directionFilter(network.outgoing.filter, parseOutgoingFilter),
      unixStreams: network.outgoing.unix_streams,
      debuggerPorts,
      answersPing: config.experimental.tcp_ping4_mock,
    },
    incoming: {
      ...incomingOptions(config),
      debuggerPorts,
      ...(targetless ? withoutTarget(network.incoming.mode) : {}),
    },
    hostname,
    ipv6: network.ipv6,
  }
}

const withoutTarget = (mode: IncomingOptions["mode"]): Pick<IncomingOptions, "mode" | "wanted"> =>
  mode === "off" ? { mode } : { mode: "off", wanted: mode }

/**
 * The features' options for a pod that is known. With `autoMount` files of its mounted volumes are its own, unless the
 * configuration wants them local.
 */
export function withPod(features: FeatureOptions, pod: PodFacts | undefined, autoMount: boolean): FeatureOptions {
  if (!pod) return features
  const { files, incoming } = features
  const local = compileAny(files.local, "i")
  const added = (autoMount ? pod.mounts : [])
    .filter(({ path }) => !local?.test(path))
    .map(({ path, isPart }) => `^${escapePattern(path.replace(/\/+$/, ""))}${isPart ? "$" : "(/.*)?$"}`)
  return {
    ...features,
    incoming: { ...incoming, probedPorts: pod.probedPorts },
    files: added.length === 0 ? files : { ...files, mounts: added },
  }
}

export function incomingOptions(config: Config): IncomingOptions {
  const { incoming } = config.feature.network
  return {
    mode: incoming.mode,
    filter: toHttpFilter(incoming.http_filter),
    filterPorts: incoming.http_filter.ports,
    portMapping: new Map(incoming.port_mapping),
    listenPorts: new Map(incoming.listen_ports),
    ignoreLocalhost: incoming.ignore_localhost,
    ignorePorts: incoming.ignore_ports,
    ports: incoming.ports,
    tlsDelivery: tlsDelivery(incoming.tls_delivery ?? incoming.https_delivery),
    idleConnectionMs: config.experimental.idle_local_http_connection_timeout,
  }
}

function tlsDelivery(config: Network["incoming"]["tls_delivery"]): TlsDelivery {
  if (!config) return { protocol: "tls" }
  return {
    protocol: config.protocol,
    ...(config.trust_roots ? { trustRoots: certificatesAt(config.trust_roots) } : {}),
    ...(config.server_cert ? { certificate: certificatesAt([config.server_cert])[0] } : {}),
    serverName: config.server_name,
  }
}

function directionFilter<E>(config: { remote?: string[]; local?: string[] } | undefined, parse: (entry: string) => E) {
  if (!config) return undefined
  const matching = config.remote ? "remote" : "local"
  const entries = config.remote ?? config.local ?? []
  // Without an entry a filter would turn everything the other way, which nobody means by an empty list.
  return entries.length === 0 && matching === "local" ? undefined : ({ matching, entries: entries.map(parse) } as const)
}

export function kubeOptions(config: Config): KubeOptions {
  return {
    kubeconfig: config.kubeconfig,
    context: config.kube_context,
    acceptInvalidCertificates: config.accept_invalid_certificates,
  }
}

export function agentOptions({ agent }: Config): AgentOptions {
  const { app_armor_profile, seccomp_profile } = agent.security_context ?? {}
  const profile = (of: typeof app_armor_profile) => of && { type: of.type, localhostProfile: of.localhost_profile }
  return {
    image:
      agent.image?.whole ??
      `${agent.image?.registry ?? defaultAgentImage.registry}:${agent.image?.tag ?? defaultAgentImage.tag}`,
    imagePullPolicy: agent.image_pull_policy,
    imagePullSecrets: agent.image_pull_secrets,
    ttlSeconds: agent.ttl,
    communicationTimeoutSeconds: agent.communication_timeout ?? defaultCommunicationTimeoutSeconds,
    logLevel: agent.log_level,
    jsonLog: agent.json_log,
    labels: agent.labels,
    annotations: agent.annotations,
    disableMeshSidecarInjection: agent.disable_mesh_sidecar_injection,
    nodeSelector: agent.node_selector,
    tolerations: agent.tolerations,
    serviceAccount: agent.service_account,
    priorityClass: agent.priority_class,
    resources: agent.resources,
    privileged: agent.privileged,
    disabledCapabilities: agent.disabled_capabilities ?? [],
    leastCapabilities: agent.least_capabilities,
    ...(agent.security_context && {
      securityContext: { appArmorProfile: profile(app_armor_profile), seccompProfile: profile(seccomp_profile) },
    }),
    excludeFromMesh: agent.exclude_from_mesh,
    flushConnections: agent.flush_connections,
    maxBodyBufferBytes: agent.max_body_buffer_size,
    maxBodyBufferTimeoutMs: agent.max_body_buffer_timeout,
    httpDetectionTimeoutSeconds: agent.http_detection_timeout,
    jqTimeLimit: agent.jaq_time_limit,
    nftables: agent.nftables,
    dnsAttempts: agent.dns.attempts,
    dnsTimeoutSeconds: agent.dns.timeout,
    metrics: agent.metrics,
    injectHeaders: agent.inject_headers,
    cleanIptablesOnStart: agent.clean_iptables_on_start,
    externalIpFix: agent.external_ip_fix,
    overrideCacheControl: agent.override_cache_control,
  }
}
