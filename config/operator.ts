import * as v from "valibot"
import { AppError } from "../core/errors.ts"
import { type AgentChoices, agentConfig, agentExtraEnv } from "./operator-agent.ts"

/*
 * Settings of the operator, from its environment. The chart writes them; names follow the mirrord operator where it has
 * the same thing.
 */

const flag = (otherwise: boolean) =>
  v.optional(
    v.pipe(
      v.picklist(["true", "false"]),
      v.transform((text) => text === "true"),
    ),
    otherwise ? "true" : "false",
  )
const whole = (otherwise: number, min: number, max: number) =>
  v.optional(
    v.pipe(v.string(), v.regex(/^\d+$/, "not a whole number"), v.transform(Number), v.minValue(min), v.maxValue(max)),
    String(otherwise),
  )
const text = (otherwise: string) => v.optional(v.pipe(v.string(), v.nonEmpty()), otherwise)
const absent = v.optional(v.pipe(v.string(), v.nonEmpty()))

const environment = v.object({
  /** Address of the API, `host:port`; IPv6 in brackets. */
  OPERATOR_ADDR: text("0.0.0.0:8443"),
  /** Used where the first is an address this machine does not have: pods may lack IPv6, or have nothing else. */
  OPERATOR_FALLBACK_ADDR: absent,
  /** Prometheus, in plain HTTP; "off" for none. */
  OPERATOR_METRICS_ADDR: text("off"),
  OPERATOR_METRICS_FALLBACK_ADDR: absent,
  OPERATOR_POD_NAME: absent,
  OPERATOR_POD_UID: absent,
  MIRRORD_OPERATOR_NAMESPACE: text("mirrord"),
  OPERATOR_SERVICE_NAME: text("podside-operator"),
  /** Value of the label operator.metalbear.co/owner on everything the operator makes. */
  OPERATOR_ISOLATION_MARKER: text("mirrord-operator"),
  /** Own certificate when given, else the operator makes and rotates one. */
  OPERATOR_TLS_CERT_PATH: absent,
  OPERATOR_TLS_KEY_PATH: absent,
  /** Keep the caBundle of the APIService equal to the operator's own CA. */
  OPERATOR_MANAGE_API_SERVICE: flag(true),
  OPERATOR_AGENT_CONNECTION_TLS: flag(true),
  /** Fixed port of agents; absent = a random one for each. */
  OPERATOR_AGENT_PORT: v.optional(
    v.pipe(v.string(), v.regex(/^\d+$/), v.transform(Number), v.minValue(1), v.maxValue(65535)),
  ),
  OPERATOR_AGENT_IMAGE: text("podside:dev"),
  OPERATOR_AGENT_HOST_PATHS: flag(false),
  /** Agents are ephemeral containers of the target's pod instead of pods of their own. */
  OPERATOR_AGENT_EPHEMERAL: flag(false),
  OPERATOR_AGENT_CONFIG: v.optional(agentConfig),
  /** More environment of agents: a JSON object of names and texts. */
  OPERATOR_AGENT_EXTRA_ENV: v.optional(agentExtraEnv, "{}"),
  /** An agent without any client leaves after this many seconds. */
  OPERATOR_AGENT_IDLE_SECONDS: whole(60, 1, 86_400),
  OPERATOR_AGENT_STARTUP_SECONDS: whole(60, 5, 600),
  /** A session without any client is closed after this many seconds. */
  OPERATOR_SESSION_UNUSED_SECONDS: whole(30, 6, 86_400),
  /** A session whose target has no usable pod is closed after this many milliseconds. */
  OPERATOR_NO_POD_TARGETS_SESSION_TIMEOUT_MILLIS: whole(60_000, 0, 86_400_000),
  /** Longest life of a session; 0 = no limit. */
  OPERATOR_MAX_SESSION_TIME_SECONDS: whole(0, 0, 31_536_000),
  /** Connects of one user that may be in progress at once. */
  OPERATOR_MAX_CONNECTS_PER_USER: whole(32, 1, 10_000),
  /** In every line that is logged; for logs of several clusters in one place. */
  OPERATOR_CLUSTER_NAME: absent,
  OPERATOR_JSON_LOG: flag(true),
  OPERATOR_LOG_LEVEL: v.optional(v.picklist(["debug", "info", "warn", "error"]), "info"),
  OPERATOR_LICENSE_ORGANIZATION: text("podside"),
})

type Environment = v.InferOutput<typeof environment>

/** Every variable with its default, as it would be written; undefined for one that may be absent. */
export const operatorVariables: Readonly<Record<string, string | undefined>> = Object.fromEntries(
  Object.entries(environment.entries).map(([name, schema]) => [name, schema.default]),
)

export interface ListenAddress {
  host: string
  port: number
}

export interface OperatorSettings {
  /** The first of these that the machine has. */
  listen: readonly ListenAddress[]
  metrics: readonly ListenAddress[] | undefined
  podName: string | undefined
  podUid: string | undefined
  namespace: string
  serviceName: string
  ownerMarker: string
  certificateFiles: { cert: string; key: string } | undefined
  manageApiService: boolean
  agent: {
    tls: boolean
    port: number | undefined
    image: string
    options: AgentChoices
    extraEnv: Readonly<Record<string, string>>
    /** Mount the node's runtime sockets: only mirrord's own agent needs them. */
    hostPaths: boolean
    /** As containers of the target's pod. */
    ephemeral: boolean
    idleSeconds: number
    startupSeconds: number
  }
  sessionUnusedSeconds: number
  /** How long a session whose target has no usable pod is kept. */
  noPodMs: number
  maxSessionSeconds: number
  maxConnectsPerUser: number
  clusterName: string | undefined
  jsonLog: boolean
  logLevel: Environment["OPERATOR_LOG_LEVEL"]
  organization: string
}

/** @throws AppError "bad-operator-settings" naming the variable */
export function readOperatorSettings(env: Readonly<Record<string, string | undefined>>): OperatorSettings {
  const known = Object.keys(environment.entries)
  const given = Object.fromEntries(known.flatMap((name) => (env[name] ? [[name, env[name]]] : [])))
  let read: Environment
  try {
    read = v.parse(environment, given)
  } catch (cause) {
    const issue = cause instanceof v.ValiError ? cause.issues[0] : undefined
    const where = issue ? (v.getDotPath(issue) ?? "?") : "OPERATOR_AGENT_CONFIG"
    throw bad(where, issue?.message ?? "not JSON", cause)
  }
  const { OPERATOR_TLS_CERT_PATH: cert, OPERATOR_TLS_KEY_PATH: key } = read
  if ((cert === undefined) !== (key === undefined))
    throw bad("OPERATOR_TLS_CERT_PATH", "certificate and key belong together")
  return {
    listen: addresses(read, "OPERATOR_ADDR", "OPERATOR_FALLBACK_ADDR"),
    metrics:
      read.OPERATOR_METRICS_ADDR === "off"
        ? undefined
        : addresses(read, "OPERATOR_METRICS_ADDR", "OPERATOR_METRICS_FALLBACK_ADDR"),
    podName: read.OPERATOR_POD_NAME,
    podUid: read.OPERATOR_POD_UID,
    namespace: read.MIRRORD_OPERATOR_NAMESPACE,
    serviceName: read.OPERATOR_SERVICE_NAME,
    ownerMarker: read.OPERATOR_ISOLATION_MARKER,
    certificateFiles: cert && key ? { cert, key } : undefined,
    manageApiService: read.OPERATOR_MANAGE_API_SERVICE,
    agent: {
      tls: read.OPERATOR_AGENT_CONNECTION_TLS,
      port: read.OPERATOR_AGENT_PORT,
      image: read.OPERATOR_AGENT_IMAGE,
      options: read.OPERATOR_AGENT_CONFIG ?? {},
      extraEnv: read.OPERATOR_AGENT_EXTRA_ENV,
      hostPaths: read.OPERATOR_AGENT_HOST_PATHS,
      ephemeral: read.OPERATOR_AGENT_EPHEMERAL,
      idleSeconds: read.OPERATOR_AGENT_IDLE_SECONDS,
      startupSeconds: read.OPERATOR_AGENT_STARTUP_SECONDS,
    },
    sessionUnusedSeconds: read.OPERATOR_SESSION_UNUSED_SECONDS,
    noPodMs: read.OPERATOR_NO_POD_TARGETS_SESSION_TIMEOUT_MILLIS,
    maxSessionSeconds: read.OPERATOR_MAX_SESSION_TIME_SECONDS,
    maxConnectsPerUser: read.OPERATOR_MAX_CONNECTS_PER_USER,
    clusterName: read.OPERATOR_CLUSTER_NAME,
    jsonLog: read.OPERATOR_JSON_LOG,
    logLevel: read.OPERATOR_LOG_LEVEL,
    organization: read.OPERATOR_LICENSE_ORGANIZATION,
  }
}

function addresses(read: Environment, ...names: (keyof Environment & `${string}_ADDR`)[]): ListenAddress[] {
  return names.flatMap((name) => (read[name] === undefined ? [] : [address(name, read[name])]))
}

function address(name: string, value: string): ListenAddress {
  const match = /^(?:\[([0-9a-fA-F:]+)\]|([^:[\]]+)):(\d{1,5})$/.exec(value)
  const port = Number(match?.[3])
  if (!match || port > 65535) throw bad(name, `"${value}" is not HOST:PORT`)
  return { host: match[1] ?? match[2]!, port }
}

function bad(name: string, why: string, cause?: unknown): AppError {
  return new AppError("bad-operator-settings", `The environment variable ${name} cannot be used: ${why}`, {
    cause,
    next: "Correct it in the operator's Deployment (or in the values of its chart).",
  })
}
