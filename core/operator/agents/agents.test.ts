import { describe, expect, test } from "bun:test"
import { manifests } from "../../../config/manifests/objects.ts"
import { readValues } from "../../../config/manifests/values.ts"
import { readOperatorSettings } from "../../../config/operator.ts"
import type { Pod } from "../../kube/objects.ts"
import { agentName, agentObject, podPlace, targetlessPlace } from "./agent-object.ts"
import { agentState } from "./agent-state.ts"
import { usablePods } from "./target-agents.ts"
import { matches } from "./target-selector.ts"

const target = (uid: string, containerId = "c1"): Pod => ({
  metadata: { name: "web-0", namespace: "shop", uid },
  spec: { nodeName: "node-1", containers: [{ name: "app" }] },
  status: {
    phase: "Running",
    podIP: "10.0.0.5",
    containerStatuses: [{ name: "app", ready: true, containerID: `containerd://${containerId}` }],
  },
})

const settings = readOperatorSettings({ MIRRORD_OPERATOR_NAMESPACE: "tools", OPERATOR_AGENT_IMAGE: "podside:1" })
const placeOf = (pod: Pod) => podPlace(pod, "app", "shop")
const objectOf = (pod: Pod, attempt = 0, stealTlsConfig?: string) =>
  agentObject({
    place: placeOf(pod),
    pod,
    attempt,
    settings,
    operatorCertificate: "PEM",
    stealTlsConfig,
    owner: undefined,
  })

describe("the agent's Pod", () => {
  test("every replica makes up the same one for the same container, and another one for another", () => {
    expect(objectOf(target("u1"))).toEqual(objectOf(target("u1")))
    const names = [
      objectOf(target("u1")),
      objectOf(target("u1", "c2")),
      objectOf(target("u2")),
      objectOf(target("u1"), 1),
    ]
    expect(new Set(names.map(({ metadata }) => metadata.name)).size).toBe(4)
    expect(targetlessPlace("shop").key).not.toBe(targetlessPlace("team").key)
  })

  test("has the name it is looked for by, and one without target lives where its network is", () => {
    const { name, namespace } = objectOf(target("u1"), 2).metadata
    expect(agentName(placeOf(target("u1")), 2, settings)).toEqual({ name, namespace: namespace! })
    expect(agentName(targetlessPlace("shop"), 0, settings).namespace).toBe("shop")
  })

  test("has the host's processes and three capabilities, no host path, and lives with the operator", () => {
    const { metadata, spec } = objectOf(target("u1")) as ReturnType<typeof objectOf> & {
      spec: {
        hostPID?: boolean
        volumes?: unknown
        containers: { volumeMounts?: unknown; securityContext?: unknown; env?: { name: string; value: string }[] }[]
      }
    }
    expect(metadata).toMatchObject({
      namespace: "tools",
      labels: { app: "mirrord", "operator.metalbear.co/owner": "mirrord-operator" },
    })
    expect(spec.hostPID).toBe(true)
    expect(spec.volumes).toBeUndefined()
    expect(spec.containers[0]?.volumeMounts).toBeUndefined()
    expect(spec.containers[0]?.securityContext).toMatchObject({
      privileged: false,
      capabilities: { add: ["SYS_ADMIN", "SYS_PTRACE", "NET_ADMIN"] },
    })
    expect(spec.containers[0]?.env).toContainEqual({ name: "AGENT_OPERATOR_CERT_ENV", value: "PEM" })
    expect(spec.containers[0]?.env).toContainEqual({ name: "MIRRORD_AGENT_IDLE_TTL", value: "60" })
  })

  test("is what OpenShift is told of agents, and the operator's pod what it is told of that", () => {
    const objects = manifests(readValues({ openshift: true, namespace: "tools" }))
    const constraints = (name: string) =>
      objects.find(
        ({ kind, metadata }) => kind === "SecurityContextConstraints" && metadata["name"] === name,
      ) as unknown as {
        allowHostPID: boolean
        allowedCapabilities: string[]
        requiredDropCapabilities: string[]
        allowPrivilegedContainer: boolean
        runAsUser: { type: string }
        users: string[]
      }
    const { spec, metadata } = objectOf(target("u1"))
    const agent = constraints("podside-agent")
    const [container] = spec.containers as {
      securityContext?: { privileged: boolean; capabilities: { add: string[] } }
    }[]
    expect(agent.allowHostPID).toBe(true)
    expect(agent.allowedCapabilities).toEqual(expect.arrayContaining(container!.securityContext!.capabilities.add))
    expect(agent.allowPrivilegedContainer).toBe(container!.securityContext!.privileged)
    expect(agent.users).toEqual([`system:serviceaccount:${metadata.namespace}:default`])
    const deployment = objects.find(({ kind }) => kind === "Deployment") as unknown as {
      spec: { template: { spec: { serviceAccountName: string; securityContext: object; containers: object[] } } }
    }
    const pod = deployment.spec.template.spec
    const own = constraints("podside-operator")
    expect([own.allowHostPID, own.runAsUser.type, own.users]).toEqual([
      ...[false, "MustRunAsNonRoot", [`system:serviceaccount:tools:${pod.serviceAccountName}`]],
    ])
    expect(pod.securityContext).toMatchObject({ runAsNonRoot: true, seccompProfile: { type: "RuntimeDefault" } })
    expect(pod.containers[0]).toMatchObject({
      securityContext: { allowPrivilegeEscalation: false, capabilities: { drop: own.requiredDropCapabilities } },
    })
    expect(manifests(readValues({})).some(({ kind }) => kind === "SecurityContextConstraints")).toBe(false)
  })

  test("has the environment the operator's owner adds, which wins and stands once", () => {
    const OPERATOR_AGENT_EXTRA_ENV = '{"PODSIDE_AGENT_KEEP_CALLERS":"false","RUST_LOG":"trace"}'
    const chosen = readOperatorSettings({ OPERATOR_AGENT_EXTRA_ENV })
    const pod = target("u1")
    const options = { place: placeOf(pod), pod, attempt: 0, settings: chosen, operatorCertificate: undefined }
    const { spec } = agentObject({ ...options, stealTlsConfig: undefined, owner: undefined })
    const { env } = spec.containers[0] as { env?: { name: string; value: string }[] }
    expect(env).toContainEqual({ name: "PODSIDE_AGENT_KEEP_CALLERS", value: "false" })
    expect(env?.filter(({ name }) => name === "RUST_LOG")).toEqual([{ name: "RUST_LOG", value: "trace" }])
  })
})

test.each<[string, object, string]>([
  ["no status yet", {}, "starting"],
  [
    "its image is being pulled",
    { containerStatuses: [{ name: "a", state: { waiting: { reason: "ContainerCreating" } } }] },
    "starting",
  ],
  ["running without an address", { containerStatuses: [{ name: "a", state: { running: {} } }] }, "starting"],
  ["running", { podIP: "10.0.0.9", containerStatuses: [{ name: "a", state: { running: {} } }] }, "running"],
  ["no image", { containerStatuses: [{ name: "a", state: { waiting: { reason: "ErrImageNeverPull" } } }] }, "failed"],
  ["rejected by the node", { phase: "Failed", reason: "OutOfcpu" }, "ended"],
  ["done", { phase: "Succeeded" }, "ended"],
])("an agent with %s counts as %p", (_what, status, kind) => {
  const pod = { metadata: { name: "a" }, spec: { containers: [] }, status } as unknown as Pod
  expect(agentState(pod).kind).toBe(kind as "starting")
})

describe("pods of which only some have the named container", () => {
  const pod = (name: string, container: string): Pod => {
    const { status, ...rest } = target(name)
    const containerStatuses = [{ name: container, ready: true, containerID: "containerd://c" }]
    return {
      ...rest,
      spec: { nodeName: "n", containers: [{ name: container }] },
      status: { ...status, containerStatuses },
    }
  }
  const service = (container: string) => ({ kind: "service", name: "web", container }) as const
  const pods = [pod("old", "web"), pod("new", "app")]

  test("those are used", () => {
    const used = usablePods(service("app"), "shop", pods).map(({ pod, container }) => [pod.metadata.uid, container])
    expect(used).toEqual([["new", "app"]])
  })

  test("one that none has is refused with those there are", () => {
    expect(() => usablePods(service("db"), "shop", pods)).toThrow(
      expect.objectContaining({ code: "container-not-found", next: "Choose one of: web." }),
    )
  })
})

test.each([
  [{ matchLabels: { app: "web" } }, { app: "web", tier: "front" }, true],
  [{ matchLabels: { app: "web" } }, { app: "api" }, false],
  [{}, { app: "web" }, false],
  [{ matchExpressions: [{ key: "app", operator: "In" as const, values: ["web", "api"] }] }, { app: "api" }, true],
  [{ matchExpressions: [{ key: "app", operator: "NotIn" as const, values: ["web"] }] }, {}, true],
  [{ matchExpressions: [{ key: "app", operator: "Exists" as const }] }, {}, false],
  [
    { matchLabels: { a: "1" }, matchExpressions: [{ key: "b", operator: "DoesNotExist" as const }] },
    { a: "1", b: "2" },
    false,
  ],
])("selector %j and labels %j: %p", (selector, labels, fits) => {
  const pod = { ...target("u"), metadata: { name: "p", labels: labels as Record<string, string> } }
  expect(matches(selector)(pod)).toBe(fits)
})

test.each([
  ["OPERATOR_ADDR", "nowhere"],
  ["OPERATOR_ADDR", "0.0.0.0:99999"],
  ["OPERATOR_AGENT_CONFIG", "{"],
  ["OPERATOR_AGENT_CONFIG", '{"imgae": 1}'],
  ["OPERATOR_AGENT_EXTRA_ENV", "{"],
  ["OPERATOR_AGENT_EXTRA_ENV", '{"1 NAME": "x"}'],
  ["OPERATOR_AGENT_EXTRA_ENV", '{"NUMBER": 1}'],
  ["OPERATOR_MAX_CONNECTS_PER_USER", "0"],
  ["OPERATOR_TLS_CERT_PATH", "/only/one"],
])("the setting %s=%s is refused by name", (name, value) => {
  expect(() => readOperatorSettings({ [name]: value })).toThrow(new RegExp(name))
})
