import { type DiversionBackend, diversionBackends } from "../core/interceptor.ts"
import type { Logger } from "../core/log.ts"
import { readMetricsAddress } from "./metrics-address.ts"

/**
 * What the agent is told through its environment. Variables and defaults: mirrord's agent, plus podside's own. Not read, because
 * nothing here depends on them: MIRRORD_AGENT_POD_IPS (the agent's own connections carry a mark, so its rules need no addresses),
 * MIRRORD_JAQ_TIME_LIMIT (whole seconds; a jq program gets a number of steps that take 50 ms), MIRRORD_AGENT_PASSTHROUGH_MIRRORING
 * (of older agents) and MIRRORD_AGENT_CHILD_PROCESS (there is no second agent process).
 */
export interface AgentSettings {
  /** `RUST_LOG` reduced to one level. */
  logLevel: "debug" | "info" | "warn" | "error"
  jsonLog: boolean
  /** PEM; when set, every client must speak TLS with this certificate before its first byte is looked at. */
  operatorCertificate: string | undefined
  /** Refuse to run without `operatorCertificate`. */
  requireTls: boolean
  /** "ip:port" of the metrics listener. */
  metricsAddress: string | undefined
  inServiceMesh: boolean
  istioCni: boolean
  excludeFromMesh: boolean
  flushConnections: boolean
  flushConntrack: boolean
  /** True: nft programs, false: legacy ones, undefined: found out. */
  nftables: boolean | undefined
  /** Which kind of kernel rules takes incoming traffic; wins over `nftables`. */
  rules: DiversionBackend | undefined
  cleanRulesOnStart: boolean
  /** The application gets connections on the address the caller used; otherwise on the loopback address. mirrord's default is false. */
  externalIpFix: boolean
  /** The application sees its callers' addresses while a port is mirrored or stolen with a filter. */
  keepCallers: boolean
  /** Mirrored connections reach the application directly and the kernel gives the agent copies, where it can. */
  copyMirrored: boolean
  unusedPortLingerSeconds: number
  httpDetectionTimeoutSeconds: number
  maxBodyBufferBytes: number
  maxBodyBufferMilliseconds: number
  injectHeaders: boolean
  overrideCacheControl: boolean
  /** Base64 of a JSON array; read by what terminates TLS of stolen traffic. */
  stealTlsConfig: string | undefined
  /** Per question; undefined: what resolv.conf says. */
  dnsTimeoutSeconds: number | undefined
  dnsAttempts: number | undefined
  /** Names already looked up are answered from memory for as long as their records hold. */
  keepNames: boolean
  ephemeralTargetContainerId: string
  idleSeconds: number
}

/** No timer waits longer, 24 days: one that is told to is over at once. */
const maxTimerMilliseconds = 2 ** 31 - 1

type Environment = Readonly<Record<string, string | undefined>>

/** A variable that cannot be read counts as absent and is named in the log, as with mirrord's agent. */
export function readSettings(env: Environment, log: Logger): AgentSettings {
  const read = <T>(name: string, parse: (text: string) => T | undefined): T | undefined => {
    const text = env[name]
    if (text === undefined) return undefined
    const value = parse(text)
    if (value === undefined) log.error("environment variable cannot be read, using its default", { variable: name })
    return value
  }
  const flag = (name: string, unset = false) => read(name, boolean) ?? unset
  const count = (name: string, unset: number, parse: (text: string) => number | undefined) => read(name, parse) ?? unset
  const text = (name: string) => env[name] || undefined
  return {
    logLevel: logLevel(env["RUST_LOG"]),
    jsonLog: flag("MIRRORD_AGENT_JSON_LOG"),
    operatorCertificate: text("AGENT_OPERATOR_CERT_ENV"),
    requireTls: flag("PODSIDE_AGENT_REQUIRE_TLS"),
    metricsAddress: read("MIRRORD_AGENT_METRICS", (value) => readMetricsAddress(value) && value),
    inServiceMesh: flag("MIRRORD_AGENT_IN_SERVICE_MESH"),
    istioCni: flag("MIRRORD_AGENT_ISTIO_CNI"),
    excludeFromMesh: flag("MIRRORD_AGENT_EXCLUDE_FROM_MESH"),
    flushConnections: flag("MIRRORD_AGENT_STEALER_FLUSH_CONNECTIONS"),
    flushConntrack: flag("MIRRORD_AGENT_STEALER_FLUSH_CONNECTIONS_CONNTRACK", true),
    nftables: read("MIRRORD_AGENT_NFTABLES", boolean),
    rules: read("PODSIDE_AGENT_RULES", backend),
    cleanRulesOnStart: flag("MIRRORD_AGENT_CLEAN_IPTABLES_ON_START"),
    externalIpFix: flag("MIRRORD_AGENT_EXTERNAL_IP_FIX", true),
    keepCallers: flag("PODSIDE_AGENT_KEEP_CALLERS", true),
    copyMirrored: flag("PODSIDE_AGENT_COPY_MIRRORED", true),
    unusedPortLingerSeconds: count("MIRRORD_AGENT_UNUSED_PORT_LINGER_SECS", 0, seconds),
    httpDetectionTimeoutSeconds: count("MIRRORD_AGENT_HTTP_DETECTION_TIMEOUT", 2, seconds),
    maxBodyBufferBytes: count("MIRRORD_MAX_BODY_BUFFER_SIZE", 65536, whole),
    maxBodyBufferMilliseconds: count("MIRRORD_MAX_BODY_BUFFER_TIMEOUT", 1000, milliseconds),
    injectHeaders: flag("MIRRORD_AGENT_INJECT_HEADERS"),
    overrideCacheControl: flag("MIRRORD_AGENT_OVERRIDE_CACHE_CONTROL", true),
    stealTlsConfig: text("MIRRORD_AGENT_STEAL_TLS_CONFIG"),
    dnsTimeoutSeconds: read("MIRRORD_AGENT_DNS_TIMEOUT", seconds),
    dnsAttempts: read("MIRRORD_AGENT_DNS_ATTEMPTS", whole),
    keepNames: flag("PODSIDE_AGENT_KEEP_NAMES", true),
    ephemeralTargetContainerId: text("MIRRORD_AGENT_EPHEMERAL_TARGET_CONTAINER_ID") ?? "",
    idleSeconds: count("MIRRORD_AGENT_IDLE_TTL", 0, seconds),
  }
}

/** mirrord's setting chooses between two iptables programs; nf_tables by netlink stands in for the nft one. */
export function wantedBackend({ rules, nftables }: Pick<AgentSettings, "rules" | "nftables">): DiversionBackend {
  if (rules !== undefined) return rules
  if (nftables === undefined) return "auto"
  return nftables ? "nf_tables" : "iptables-legacy"
}

function boolean(text: string): boolean | undefined {
  return text === "true" ? true : text === "false" ? false : undefined
}

function backend(text: string): DiversionBackend | undefined {
  return diversionBackends.find((known) => known === text)
}

/** Numbers of up to 64 bits; larger ones than `most` count as that. */
const wholeUpTo = (most: number) => (text: string) =>
  /^\d{1,20}$/.test(text) ? Math.min(Number(text), most) : undefined
const whole = wholeUpTo(Number.MAX_SAFE_INTEGER)
const milliseconds = wholeUpTo(maxTimerMilliseconds)
const seconds = wholeUpTo(Math.floor(maxTimerMilliseconds / 1000))

/** How the first lines are written, before the other variables are read. */
export function logFormat(env: Environment): "json" | "text" {
  return env["MIRRORD_AGENT_JSON_LOG"] === "true" ? "json" : "text"
}

/** `warn,mirrord=trace` is a filter of another program's modules; its most talkative level is taken. */
function logLevel(filter: string | undefined): AgentSettings["logLevel"] {
  const words: string[] = filter?.toLowerCase().match(/\b(trace|debug|info|warn|error)\b/g) ?? []
  if (words.includes("trace") || words.includes("debug")) return "debug"
  if (words.length === 0 || words.includes("info")) return "info"
  return words.includes("warn") ? "warn" : "error"
}
