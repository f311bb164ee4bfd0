import { createHash } from "node:crypto"
import type { OperatorSettings } from "../../../config/operator.ts"
import { type AgentOptions, defaultAgentOptions } from "../../kube/agent-options.ts"
import { type AgentIdentity, agentJob, ephemeralAgent } from "../../kube/agent-spec.ts"
import { runtimeId } from "../../kube/containers.ts"
import type { OwnerReference, Pod } from "../../kube/objects.ts"

/**
 * What an agent is beside: one container of one pod, or nothing in one namespace. Sessions keep this for as long as they last
 * and not the pod, which is a hundred times larger and read again when an agent has to be made.
 */
export interface AgentPlace {
  /** Fits into a label, and equal for every replica: two that want the same agent make up the same name. */
  key: string
  /** Of the target. */
  namespace: string
  beside?: { pod: string; container: string }
}

export const ownerLabel = "operator.metalbear.co/owner"
/** On agents: which place they are for, by its key. */
export const placeLabel = "podside.dev/place"
const portAnnotation = "podside.dev/port"

export function podPlace(pod: Pod, container: string, namespace: string): AgentPlace {
  const key = keyOf(`${pod.metadata.uid} ${runtimeId(pod, container).id}`)
  return { key, namespace, beside: { pod: pod.metadata.name, container } }
}

export const targetlessPlace = (namespace: string): AgentPlace => ({ key: keyOf(`targetless ${namespace}`), namespace })

const keyOf = (text: string) => createHash("sha256").update(text).digest("hex").slice(0, 32)

/** @param attempt counts up when an earlier agent for this place has ended but its object is still there */
export function agentName(place: AgentPlace, attempt: number, settings: OperatorSettings) {
  return {
    name: agentIdentity(place.key, attempt, settings.agent.port).name,
    namespace: place.beside ? settings.namespace : place.namespace,
  }
}

export interface AgentObjectOptions {
  place: AgentPlace
  /** The pod of the place; undefined for a targetless one. */
  pod: Pod | undefined
  attempt: number
  settings: OperatorSettings
  /** PEM the agent checks the operator with; undefined for plain TCP. */
  operatorCertificate: string | undefined
  /** As `StealTls.agentConfig` has it. */
  stealTlsConfig: string | undefined
  owner: OwnerReference | undefined
}

export type AgentObject = Pod & { apiVersion: string; kind: string }

/** The agent's Pod. It runs where the operator runs, except a targetless one, whose network is its namespace's. */
export function agentObject(options: AgentObjectOptions): AgentObject {
  const { place, pod, attempt, settings, owner } = options
  const identity = agentIdentity(place.key, attempt, settings.agent.port)
  const target = pod && place.beside ? { pod, container: place.beside.container } : undefined
  const job = agentJob(identity, agentOptions(options), target)
  const { metadata, spec } = job.spec.template
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: {
      ...agentName(place, attempt, settings),
      labels: { ...metadata.labels, [ownerLabel]: settings.ownerMarker, [placeLabel]: place.key },
      annotations: { ...metadata.annotations, [portAnnotation]: String(identity.port) },
      ...(owner && target ? { ownerReferences: [owner] } : {}),
    },
    spec: settings.agent.hostPaths ? spec : withoutHostPaths(spec),
  } as AgentObject
}

/** The agent's container when it lives in the target's own pod. */
export function ephemeralObject(
  { key }: AgentPlace,
  target: { pod: Pod; container: string },
  options: Pick<AgentObjectOptions, "attempt" | "settings" | "operatorCertificate" | "stealTlsConfig">,
) {
  const identity = agentIdentity(key, options.attempt, options.settings.agent.port)
  return ephemeralAgent(identity, agentOptions(options), target)
}

export function agentPort(agent: Pod): number {
  return Number(agent.metadata.annotations?.[portAnnotation])
}

/** Derived, not random: see `AgentPlace`. */
export function agentIdentity(key: string, attempt: number, fixedPort: number | undefined): AgentIdentity {
  const digest = createHash("sha256").update(`${key} ${attempt}`).digest()
  const alphabet = "abcdefghijklmnopqrstuvwxyz0123456789"
  const suffix = [...digest.subarray(0, 10)].map((byte) => alphabet[byte % alphabet.length]).join("")
  return {
    name: `mirrord-agent-${suffix}`,
    port: fixedPort ?? 30_000 + (digest.readUInt32BE(12) % 35_536),
    gid: 3_000 + (digest.readUInt32BE(16) % 62_535),
  }
}

/** podside's agent finds its target through the host's process ids; only mirrord's needs the runtime's sockets. */
function withoutHostPaths<S extends { containers: object[] }>(spec: S): S {
  const containers = spec.containers.map(({ volumeMounts: _, ...container }: { volumeMounts?: unknown }) => container)
  return { ...spec, volumes: undefined, containers }
}

function agentOptions({
  settings: { agent },
  operatorCertificate,
  stealTlsConfig,
}: Pick<AgentObjectOptions, "settings" | "operatorCertificate" | "stealTlsConfig">): AgentOptions {
  return {
    ...defaultAgentOptions,
    image: agent.image,
    ...agent.options,
    extraEnv: agent.extraEnv,
    idleTtlSeconds: agent.idleSeconds,
    operatorCertificate,
    stealTlsConfig,
  }
}
