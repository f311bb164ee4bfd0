import { expect, test } from "bun:test"
import { type AgentOptions, defaultAgentOptions } from "./agent-options.ts"
import { agentJob, ephemeralAgent, newAgentIdentity, podIps } from "./agent-spec.ts"
import type { Pod } from "./objects.ts"

const identity = { name: "mirrord-agent-abcdefghij", port: 40_000, gid: 5_000 }
const options: AgentOptions = { ...defaultAgentOptions, image: "podside:dev" }
const app = { name: "app", ready: true, containerID: "containerd://app-id" }
const pod = {
  metadata: { name: "web" },
  spec: { nodeName: "n1", containers: [{ name: "side" }, { name: "app" }] },
  status: { phase: "Running", podIPs: [{ ip: "10.0.0.5" }, { ip: "fd00::5" }], containerStatuses: [app] },
} as Pod
const target = { pod, container: "app", nodeHostname: "n1.host" }

const env = (...pairs: [string, string][]) => pairs.map(([name, value]) => ({ name, value }))
const ownBefore = env(
  ["RUST_LOG", "info"],
  ["MIRRORD_AGENT_STEALER_FLUSH_CONNECTIONS", "true"],
  ["MIRRORD_AGENT_JSON_LOG", "false"],
  ["MIRRORD_AGENT_PASSTHROUGH_MIRRORING", "true"],
  ["MIRRORD_MAX_BODY_BUFFER_SIZE", "65535"],
  ["MIRRORD_MAX_BODY_BUFFER_TIMEOUT", "1000"],
  ["MIRRORD_AGENT_HTTP_DETECTION_TIMEOUT", "2"],
  ["MIRRORD_JAQ_TIME_LIMIT", "1"],
)
const ownAfter = env(["MIRRORD_AGENT_EXTERNAL_IP_FIX", "true"], ["MIRRORD_AGENT_OVERRIDE_CACHE_CONTROL", "true"])
const addresses = env(["MIRRORD_AGENT_POD_IPS", "10.0.0.5,fd00::5"])

const labels = { app: "mirrord", "kuma.io/sidecar-injection": "disabled" }
const annotations = { "sidecar.istio.io/inject": "false", "linkerd.io/inject": "disabled" }
const container = {
  name: "mirrord-agent",
  image: "podside:dev",
  imagePullPolicy: "IfNotPresent",
  command: ["./mirrord-agent"],
  resources: { requests: { cpu: "1m", memory: "1Mi" }, limits: { cpu: "1", memory: "100Mi" } },
}
const capabilities = { add: ["SYS_ADMIN", "SYS_PTRACE", "NET_ADMIN"] }
const job = (podSpec: object) => ({
  apiVersion: "batch/v1",
  kind: "Job",
  metadata: { name: identity.name, labels, annotations },
  spec: {
    ttlSecondsAfterFinished: 1,
    backoffLimit: 0,
    template: { metadata: { labels, annotations }, spec: podSpec },
  },
})

test("an agent's Job has the names, rights and arguments policies are written for, and no more rights", () => {
  expect(agentJob(identity, options, target)).toStrictEqual(
    job({
      restartPolicy: "Never",
      hostPID: true,
      nodeSelector: { "kubernetes.io/hostname": "n1.host" },
      tolerations: [{ operator: "Exists" }],
      volumes: [
        { name: "hostrun", hostPath: { path: "/run" } },
        { name: "hostvar", hostPath: { path: "/var" } },
      ],
      containers: [
        {
          ...container,
          args: [
            "-l",
            "40000",
            "-t",
            "30",
            "targeted",
            "--container-id",
            "app-id",
            "--container-runtime",
            "containerd",
          ],
          env: [...ownBefore, ...addresses, ...ownAfter],
          securityContext: { runAsGroup: 5_000, privileged: false, capabilities },
          volumeMounts: [
            { name: "hostrun", mountPath: "/host/run" },
            { name: "hostvar", mountPath: "/host/var" },
          ],
        },
      ],
    }) as never,
  )
})

test("without a target an agent has no rights at all", () => {
  expect(agentJob(identity, options)).toStrictEqual(
    job({
      restartPolicy: "Never",
      nodeSelector: {},
      tolerations: undefined,
      containers: [{ ...container, args: ["-l", "40000", "-t", "30", "targetless"], env: [...ownBefore, ...ownAfter] }],
    }) as never,
  )
})

test("an ephemeral agent carries the target's own variables behind its own", () => {
  const agent = (change: Partial<AgentOptions> = {}, of = pod) =>
    ephemeralAgent(identity, { ...options, ...change }, { pod: of, container: "app" })
  const plain = {
    name: identity.name,
    image: "podside:dev",
    imagePullPolicy: "IfNotPresent",
    targetContainerName: "app",
    command: ["./mirrord-agent"],
    args: ["-l", "40000", "-t", "30", "ephemeral"],
    securityContext: { runAsGroup: 5_000, capabilities, privileged: false },
    env: [...ownBefore, ...addresses, ...ownAfter],
  }
  expect(agent()).toStrictEqual(plain as never)
  const containers = [{ name: "app", env: env(["OWN", "1"]), envFrom: [{ configMapRef: { name: "c" } }] }]
  const shared = { ...pod, spec: { ...pod.spec, shareProcessNamespace: true, containers } } as Pod
  expect(agent({ excludeFromMesh: true }, shared)).toStrictEqual({
    ...plain,
    env: [
      ...plain.env,
      ...env(["MIRRORD_AGENT_EPHEMERAL_TARGET_CONTAINER_ID", "app-id"], ["MIRRORD_AGENT_EXCLUDE_FROM_MESH", "true"]),
      ...env(["OWN", "1"]),
    ],
    envFrom: [{ configMapRef: { name: "c" } }],
  } as never)
  expect(agent({ privileged: true }).securityContext).toStrictEqual({
    runAsGroup: 5_000,
    capabilities,
    privileged: true,
    runAsNonRoot: false,
    runAsUser: 0,
  })
})

test("what is chosen stands where Kubernetes looks for it", () => {
  const chosen = {
    imagePullSecrets: [{ name: "s" }],
    serviceAccount: "sa",
    priorityClass: "low",
    securityContext: { seccompProfile: { type: "RuntimeDefault" } },
    nodeSelector: { disk: "ssd" },
    tolerations: [],
    resources: { limits: {} },
    ttlSeconds: 9,
  }
  const { spec } = agentJob(identity, { ...options, ...chosen }, { pod, container: "app" })
  expect(spec.ttlSecondsAfterFinished).toBe(9)
  expect(spec.template.spec).toMatchObject({
    imagePullSecrets: chosen.imagePullSecrets,
    serviceAccountName: "sa",
    priorityClassName: "low",
    securityContext: chosen.securityContext,
    nodeSelector: { disk: "ssd" },
    nodeName: "n1",
    tolerations: [],
    containers: [{ resources: { limits: {} } }],
  })
  const hosted = agentJob(identity, { ...options, ...chosen }, target).spec.template.spec
  expect(hosted).toMatchObject({ nodeSelector: { disk: "ssd", "kubernetes.io/hostname": "n1.host" } })
  expect(hosted).not.toHaveProperty("nodeName")
})

test.each<[string, Partial<AgentOptions>, object]>([
  ["fewer capabilities", { disabledCapabilities: ["NET_ADMIN"] }, { add: ["SYS_ADMIN", "SYS_PTRACE"] }],
  ["nothing that runtimes give by default", { leastCapabilities: true }, { drop: ["ALL"], ...capabilities }],
])("an agent may have %s", (_, change, expected) => {
  const changed = { ...options, ...change }
  expect(ephemeralAgent(identity, changed, target).securityContext.capabilities).toStrictEqual(expected as never)
  const [inJob] = agentJob(identity, changed, target).spec.template.spec.containers
  expect((inJob as { securityContext: object }).securityContext).toMatchObject({ capabilities: expected })
})

test("marks of the user's own stay beside those that keep meshes away, or alone without them", () => {
  const own = { labels: { team: "a", app: "mine" }, annotations: { note: "x" } }
  const meta = (change: Partial<AgentOptions>) => {
    const { metadata, spec } = agentJob(identity, { ...options, ...change })
    return [metadata, spec.template.metadata] as object[]
  }
  expect(meta(own)).toStrictEqual([
    { name: identity.name, labels: { ...labels, team: "a" }, annotations: { ...annotations, note: "x" } },
    { labels: { ...labels, team: "a" }, annotations: { ...annotations, note: "x" } },
  ])
  expect(meta({ ...own, disableMeshSidecarInjection: false })).toStrictEqual([
    { name: identity.name, labels: { team: "a", app: "mirrord" }, annotations: { note: "x" } },
    { labels: { team: "a", app: "mirrord" } },
  ])
  expect(meta({ disableMeshSidecarInjection: false })).toStrictEqual([
    { name: identity.name, labels: { app: "mirrord" } },
    { labels: { app: "mirrord" } },
  ])
})

test("an agent in a mesh is told so, and is sent what was set, each variable once", () => {
  const mesh = (...names: string[]) => {
    const statuses = {
      containerStatuses: [app, { name: "istio-proxy" }],
      initContainerStatuses: names.map((name) => ({ name })),
    }
    const inMesh = { ...pod, status: { ...pod.status, ...statuses } } as Pod
    return agentJob(identity, options, { pod: inMesh, container: "app" }).spec.template.spec.containers[0]!.env.slice(
      11,
    )
  }
  expect(mesh()).toEqual(env(["MIRRORD_AGENT_IN_SERVICE_MESH", "true"]))
  expect(mesh("istio-validation")).toEqual(
    env(["MIRRORD_AGENT_IN_SERVICE_MESH", "true"], ["MIRRORD_AGENT_ISTIO_CNI", "true"]),
  )
  const set = { nftables: false, dnsAttempts: 3, idleTtlSeconds: 20, injectHeaders: true, metrics: "0.0.0.0:9" }
  const changed = { ...options, ...set, extraEnv: { RUST_LOG: "trace", MORE: "1" } }
  expect(agentJob(identity, changed).spec.template.spec.containers[0]!.env).toEqual([
    ...env(["RUST_LOG", "trace"]),
    ...ownBefore.slice(1),
    ...env(["MIRRORD_AGENT_NFTABLES", "false"], ["MIRRORD_AGENT_DNS_ATTEMPTS", "3"]),
    ...env(["MIRRORD_AGENT_METRICS", "0.0.0.0:9"], ["MIRRORD_AGENT_IDLE_TTL", "20"]),
    ...env(["MIRRORD_AGENT_INJECT_HEADERS", "true"]),
    ...ownAfter,
    ...env(["MORE", "1"]),
  ])
})

test("names, ports and groups are made up within their bounds", () => {
  const lowest = newAgentIdentity(() => 0)
  expect(lowest).toEqual({ name: "mirrord-agent-aaaaaaaaaa", port: 30_000, gid: 3_000 })
  const highest = newAgentIdentity((below) => below - 1)
  expect(highest).toEqual({ name: "mirrord-agent-9999999999", port: 65_535, gid: 65_534 })
  const names = new Set(Array.from({ length: 50 }, () => newAgentIdentity().name))
  expect(names.size).toBe(50)
  for (const name of names) expect(name).toMatch(/^mirrord-agent-[a-z0-9]{10}$/)
})

test("a pod's addresses are all it has, or the one older servers tell", () => {
  expect(podIps(pod)).toEqual(["10.0.0.5", "fd00::5"])
  expect(podIps({ ...pod, status: { podIP: "10.0.0.7" } } as Pod)).toEqual(["10.0.0.7"])
  expect(podIps({ ...pod, status: { podIPs: [] } } as Pod)).toEqual([])
  expect(podIps({ metadata: pod.metadata, spec: pod.spec })).toEqual([])
})
