import { agentEnv, type EnvVar, meshEnv } from "./agent-env.ts"
import type { AgentOptions } from "./agent-options.ts"
import { type Mesh, meshOf, runningContainers, runtimeId } from "./containers.ts"
import type { Container, Pod } from "./objects.ts"

/*
 * The Kubernetes objects that run an agent. Labels, names, arguments and their order are an external contract: admission
 * policies and GKE allow-lists match on them. One source for the client without operator and for the operator.
 */

/** What is made up for each agent. */
export interface AgentIdentity {
  name: string
  /** TCP port the agent listens on. */
  port: number
  /** Group of the agent's process; its own traffic is told apart by it. */
  gid: number
}

/** What the agent is for; absent parts of a targetless agent are simply not there. */
export interface AgentTarget {
  pod: Pod
  container: string
  /** Value of the node's `kubernetes.io/hostname`, when it can be read and the node is no vcluster fake. */
  nodeHostname?: string
}

const capabilities = ["SYS_ADMIN", "SYS_PTRACE", "NET_ADMIN"] as const
const defaultResources = { requests: { cpu: "1m", memory: "1Mi" }, limits: { cpu: "1", memory: "100Mi" } }
const nameAlphabet = "abcdefghijklmnopqrstuvwxyz0123456789"

export function newAgentIdentity(random: (below: number) => number = randomBelow): AgentIdentity {
  const suffix = Array.from({ length: 10 }, () => nameAlphabet[random(nameAlphabet.length)]).join("")
  return { name: `mirrord-agent-${suffix}`, port: 30_000 + random(35_536), gid: 3_000 + random(62_535) }
}

function randomBelow(below: number): number {
  return Math.floor((crypto.getRandomValues(new Uint32Array(1))[0]! / 2 ** 32) * below)
}

/** A Job with one agent beside `target`, or on its own when that is undefined. */
export function agentJob(identity: AgentIdentity, options: AgentOptions, target?: AgentTarget) {
  const { labels, annotations, podAnnotations } = marks(options)
  return {
    apiVersion: "batch/v1",
    kind: "Job",
    metadata: { name: identity.name, labels, ...(annotations && { annotations }) },
    spec: {
      ttlSecondsAfterFinished: options.ttlSeconds,
      backoffLimit: 0,
      template: {
        metadata: { labels, ...(podAnnotations && { annotations: podAnnotations }) },
        spec: podSpec(identity, options, target),
      },
    },
  }
}

function podSpec(identity: AgentIdentity, options: AgentOptions, target?: AgentTarget) {
  const { securityContext } = options
  return {
    restartPolicy: "Never",
    ...(options.imagePullSecrets && { imagePullSecrets: options.imagePullSecrets }),
    ...(options.serviceAccount && { serviceAccountName: options.serviceAccount }),
    ...(options.priorityClass && { priorityClassName: options.priorityClass }),
    ...(securityContext && { securityContext }),
    ...(target
      ? targetedPlace(options, target)
      : { nodeSelector: options.nodeSelector ?? {}, tolerations: options.tolerations }),
    containers: [agentContainer(identity, options, target)],
  }
}

/** On the target's node, with the host's process ids (the target's namespaces are reached by them) and runtime sockets. */
function targetedPlace(options: AgentOptions, { pod, nodeHostname }: AgentTarget) {
  const place = nodeHostname
    ? { nodeSelector: { ...options.nodeSelector, "kubernetes.io/hostname": nodeHostname } }
    : { nodeSelector: options.nodeSelector ?? {}, nodeName: pod.spec.nodeName }
  return {
    hostPID: true,
    ...place,
    tolerations: options.tolerations ?? [{ operator: "Exists" }],
    volumes: [
      { name: "hostrun", hostPath: { path: "/run" } },
      { name: "hostvar", hostPath: { path: "/var" } },
    ],
  }
}

function agentContainer(identity: AgentIdentity, options: AgentOptions, target?: AgentTarget) {
  const base = {
    name: "mirrord-agent",
    image: options.image,
    imagePullPolicy: options.imagePullPolicy,
    command: ["./mirrord-agent"],
    resources: options.resources ?? defaultResources,
  }
  const listen = ["-l", String(identity.port), "-t", String(options.communicationTimeoutSeconds)]
  if (!target) return { ...base, args: [...listen, "targetless"], env: agentEnv(options, []) }
  const { runtime, id } = runtimeId(target.pod, target.container)
  return {
    ...base,
    args: [...listen, "targeted", "--container-id", id, "--container-runtime", runtime],
    env: [...agentEnv(options, podIps(target.pod)), ...meshEnv(meshOf(target.pod))],
    securityContext: {
      runAsGroup: identity.gid,
      privileged: options.privileged,
      capabilities: agentCapabilities(options),
    },
    volumeMounts: [
      { name: "hostrun", mountPath: "/host/run" },
      { name: "hostvar", mountPath: "/host/var" },
    ],
  }
}

function agentCapabilities(options: AgentOptions): { drop?: string[]; add: string[] } {
  const { disabledCapabilities, leastCapabilities } = options
  const add = capabilities.filter((name) => !disabledCapabilities.includes(name))
  return leastCapabilities ? { drop: ["ALL"], add } : { add }
}

/** An agent as ephemeral container of the target's own pod; the caller appends it to the pod's list. */
export function ephemeralAgent(identity: AgentIdentity, options: AgentOptions, { pod, container }: AgentTarget) {
  const own = runningContainers(pod.spec).find((candidate) => candidate.name === container)
  const mesh = meshOf(pod)
  return {
    name: identity.name,
    image: options.image,
    imagePullPolicy: options.imagePullPolicy,
    targetContainerName: container,
    command: ["./mirrord-agent"],
    args: ["-l", String(identity.port), "-t", String(options.communicationTimeoutSeconds), "ephemeral"],
    securityContext: {
      runAsGroup: identity.gid,
      capabilities: agentCapabilities(options),
      privileged: options.privileged,
      ...(options.privileged && { runAsNonRoot: false, runAsUser: 0 }),
    },
    env: ephemeralEnv(options, pod, container, mesh, own),
    ...(own?.envFrom && { envFrom: own.envFrom }),
  }
}

/** The target's own variables come last: the agent shows its own environment as the target's. */
function ephemeralEnv(options: AgentOptions, pod: Pod, container: string, mesh: Mesh | undefined, own?: Container) {
  const extra: EnvVar[] = []
  if (pod.spec.shareProcessNamespace) {
    extra.push({ name: "MIRRORD_AGENT_EPHEMERAL_TARGET_CONTAINER_ID", value: runtimeId(pod, container).id })
  }
  if (options.excludeFromMesh) extra.push({ name: "MIRRORD_AGENT_EXCLUDE_FROM_MESH", value: "true" })
  return [...agentEnv(options, podIps(pod)), ...meshEnv(mesh), ...extra, ...(own?.env ?? [])]
}

export function podIps(pod: Pod): string[] {
  const ips = pod.status?.podIPs?.map(({ ip }) => ip) ?? []
  return ips.length > 0 || !pod.status?.podIP ? ips : [pod.status.podIP]
}

function marks(options: AgentOptions) {
  const noMesh = options.disableMeshSidecarInjection
  const labels = { ...options.labels, app: "mirrord", ...(noMesh && { "kuma.io/sidecar-injection": "disabled" }) }
  const all = {
    ...options.annotations,
    ...(noMesh && { "sidecar.istio.io/inject": "false", "linkerd.io/inject": "disabled" }),
  }
  const annotations = Object.keys(all).length > 0 ? all : undefined
  // The original puts annotations on the pod only together with the mesh ones; policies may count on that.
  return { labels, annotations, podAnnotations: noMesh ? annotations : undefined }
}
