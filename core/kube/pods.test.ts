import { afterEach, expect, test } from "bun:test"
import { type FakeKube, startFakeKube } from "../../test/fakes/kube-server.ts"
import { parseTarget } from "../target.ts"
import { chooseContainer, meshOf, notUsable, runtimeId } from "./containers.ts"
import { openKube } from "./kube.ts"
import type { Pod } from "./objects.ts"
import { formatSelector, podsOf } from "./pods.ts"
import { probedPorts } from "./probes.ts"

const fakes: FakeKube[] = []
afterEach(async () => {
  for (const fake of fakes.splice(0)) await fake.stop()
})

function pod(
  name: string,
  options: { owner?: string; containers?: string[]; annotations?: Record<string, string> } = {},
): Pod {
  const containers = options.containers ?? ["app"]
  return {
    metadata: {
      name,
      annotations: options.annotations,
      ...(options.owner && { ownerReferences: [{ apiVersion: "v1", kind: "X", name: "x", uid: options.owner }] }),
    },
    spec: { nodeName: "n1", containers: containers.map((each) => ({ name: each })) },
    status: {
      phase: "Running",
      podIPs: [{ ip: "10.0.0.5" }],
      containerStatuses: containers.map((each) => ({
        name: each,
        ready: true,
        containerID: `containerd://${each}-id`,
      })),
    },
  }
}

test("a deployment's pods are those its own replica sets made, not everything its selector fits", async () => {
  const selector = { matchLabels: { app: "web" } }
  const fake = startFakeKube({
    routes: {
      "GET /apis/apps/v1/namespaces/shop/deployments/web": () => ({
        metadata: { name: "web", uid: "d1" },
        spec: { selector },
      }),
      "GET /apis/apps/v1/namespaces/shop/replicasets": () => ({
        items: [
          { metadata: { name: "rs", uid: "r1", ownerReferences: [{ uid: "d1" }] } },
          { metadata: { name: "theirs", uid: "r2", ownerReferences: [{ uid: "d2" }] } },
        ],
      }),
      "GET /api/v1/namespaces/shop/pods": () => ({
        items: [pod("mine", { owner: "r1" }), pod("theirs", { owner: "r2" }), pod("stray")],
      }),
    },
  })
  fakes.push(fake)
  const kube = openKube({ kubeconfig: fake.kubeconfig })
  const names = async (options = {}) =>
    (await podsOf(kube, parseTarget("deployment/web"), "shop", options)).map(({ metadata }) => metadata.name)
  expect(await names()).toEqual(["mine"])
  expect(fake.requests.find(({ path }) => path.endsWith("/pods"))?.query["labelSelector"]).toBe("app=web")
  expect(await names({ selectorIsEnough: true })).toEqual(["mine", "theirs", "stray"])
  await expect(podsOf(kube, parseTarget("deployment/none"), "shop")).rejects.toMatchObject({ code: "target-not-found" })
})

test("selectors are written as Kubernetes reads them; an empty one selects nothing", async () => {
  const matchExpressions = [
    { key: "a", operator: "In", values: ["1", "2"] },
    { key: "b", operator: "NotIn", values: ["3"] },
    { key: "c", operator: "Exists" },
    { key: "d", operator: "DoesNotExist" },
  ] as const
  expect(
    formatSelector({
      matchLabels: { x: "y" },
      matchExpressions: matchExpressions.map((each) => ({
        ...each,
        values: "values" in each ? [...each.values] : undefined,
      })),
    }),
  ).toBe("x=y,a in (1,2),b notin (3),c,!d")
  expect(formatSelector({})).toBe("")
})

test.each<[string, Parameters<typeof pod>[1], string | undefined, string]>([
  ["the named one", { containers: ["a", "b"] }, "b", "b"],
  [
    "the annotated one",
    { containers: ["a", "b"], annotations: { "kubectl.kubernetes.io/default-container": "b" } },
    undefined,
    "b",
  ],
  ["the first that is no sidecar", { containers: ["istio-proxy", "a"] }, undefined, "a"],
  ["a sidecar when there is nothing else", { containers: ["istio-proxy"] }, undefined, "istio-proxy"],
])("the container is %s", (_, options, named, expected) => {
  expect(chooseContainer(pod("p", options), named).name).toBe(expected)
})

test("an init container that runs beside the others can be named, and is never meant by itself", () => {
  const whole = pod("p")
  const initContainers = [{ name: "first" }, { name: "beside", restartPolicy: "Always" }]
  const initContainerStatuses = initContainers.map(({ name }) => ({
    name,
    ready: true,
    containerID: `containerd://${name}-id`,
  }))
  const mixed = {
    ...whole,
    spec: { ...whole.spec, initContainers },
    status: { ...whole.status, initContainerStatuses },
  }
  expect(chooseContainer(mixed, "beside").name).toBe("beside")
  expect(notUsable(mixed, "beside")).toBeUndefined()
  expect(runtimeId(mixed, "beside")).toEqual({ runtime: "containerd", id: "beside-id" })
  expect(chooseContainer(mixed)).toEqual({ name: "app", others: [] })
  expect(() => chooseContainer(mixed, "first")).toThrow('has no container "first"')
})

test("the ports Kubernetes asks are those of its HTTP and gRPC probes", () => {
  const containers = [
    {
      name: "app",
      ports: [{ name: "http", containerPort: 8080 }],
      livenessProbe: { httpGet: { port: "http" } },
      readinessProbe: { httpGet: { port: 8080 } },
      startupProbe: { grpc: { port: 9000 } },
    },
    { name: "elsewhere", livenessProbe: { httpGet: { port: 7000, host: "10.0.0.1" } } },
    { name: "by-tcp", livenessProbe: { tcpSocket: { port: 6000 } } },
    { name: "unknown-name", livenessProbe: { httpGet: { port: "nothing" } } },
  ]
  const initContainers = [
    { name: "beside", restartPolicy: "Always", livenessProbe: { httpGet: { port: 5000 } } },
    { name: "first", livenessProbe: { httpGet: { port: 4000 } } },
  ]
  expect(probedPorts({ spec: { containers, initContainers } })).toEqual([8080, 9000, 5000])
})

test("a pod is used only while it can answer", () => {
  const ready = pod("p")
  expect(notUsable(ready, "app")).toBeUndefined()
  expect(notUsable({ ...ready, metadata: { ...ready.metadata, deletionTimestamp: "now" } }, "app")).toContain("deleted")
  expect(notUsable({ ...ready, status: { ...ready.status, phase: "Pending" } }, "app")).toContain("Pending")
  expect(notUsable({ ...ready, status: { ...ready.status, containerStatuses: [] } }, "app")).toContain("not ready")
  expect(notUsable({ ...ready, spec: { ...ready.spec, nodeName: undefined } }, "app")).toContain("no node")
  expect(notUsable({ metadata: ready.metadata, spec: ready.spec }, "app")).toContain("Unknown")
  const withoutId = { ...ready, status: { ...ready.status, containerStatuses: [{ name: "app", ready: true }] } }
  expect(notUsable(withoutId, "app")).toContain("no id yet")
  expect(() => runtimeId(withoutId, "app")).toThrow("no id yet")
  const containerStatuses = [{ name: "app", ready: false, state: { waiting: { reason: "CrashLoopBackOff" } } }]
  const crashing = (phase: string) =>
    notUsable({ ...ready, status: { ...ready.status, phase, containerStatuses } }, "app")
  expect(crashing("Running")).toBe('its container "app" is not ready (CrashLoopBackOff)')
  expect(crashing("Pending")).toBe("its phase is Pending (CrashLoopBackOff)")
})

test.each<[string[], string[], string | undefined]>([
  [["app", "istio-proxy"], ["istio-validation"], "istio-cni"],
  [["app", "istio-proxy"], [], "istio"],
  [["app"], ["istio-init"], "istio"],
  [["app"], ["linkerd-init"], "linkerd"],
  [["app", "linkerd-proxy"], [], "linkerd"],
  [["app"], ["kuma-init"], "kuma"],
  [["app", "kuma-sidecar"], [], "kuma"],
  [["app"], [], undefined],
])("a pod with %j and first %j is in the mesh %s", (containers, initial, mesh) => {
  const target = pod("web", { containers })
  target.status!.initContainerStatuses = initial.map((name) => ({ name }))
  expect(meshOf(target)).toBe(mesh as never)
})
