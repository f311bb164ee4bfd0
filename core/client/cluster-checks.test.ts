import { afterEach, expect, test } from "bun:test"
import { loadConfig } from "../../config/load.ts"
import { type FakeKube, type Route, startFakeKube, statusAnswer } from "../../test/fakes/kube-server.ts"
import { clusterChecks } from "./cluster-checks.ts"
import { examine } from "./doctor.ts"

const fakes: FakeKube[] = []
afterEach(async () => {
  for (const fake of fakes.splice(0)) await fake.stop()
})

interface Asked {
  spec: { resourceAttributes: { verb: string; resource: string; subresource?: string; namespace?: string } }
}

/** The finding about permissions, in a cluster that allows what `allows` says. */
async function permissions(
  allows: (verb: string, resource: string) => boolean,
  environment: Record<string, string> = {},
) {
  const review: Route = ({ body }) => {
    const { verb, resource, subresource } = (body as Asked).spec.resourceAttributes
    return { status: { allowed: allows(verb, subresource ? `${resource}/${subresource}` : resource) } }
  }
  const fake = startFakeKube({
    routes: { "POST /apis/authorization.k8s.io/v1/selfsubjectaccessreviews": review },
  })
  fakes.push(fake)
  const { config } = await loadConfig({
    environment: { KUBECONFIG: fake.kubeconfig, MIRRORD_IMPERSONATED_TARGET: "deployment/web", ...environment },
  })
  const checks = clusterChecks({ ...config, kubeconfig: fake.kubeconfig })
  const [finding] = await examine(checks.filter(({ name }) => name === "permissions"))
  return finding!
}

test("every right that is missing is named: which verb on what, and where", async () => {
  const finding = await permissions((verb, resource) => !(verb === "create" || resource === "pods/portforward"))
  expect(finding).toMatchObject({
    state: "problem",
    detail: "not allowed: create jobs in shop; get pods/portforward in shop",
    next: expect.stringContaining("Ask the cluster's owner"),
  })
})

test("with all of them nothing is wrong", async () => {
  expect(await permissions(() => true)).toMatchObject({ state: "ok" })
})

test("the right to the faster way is worth having, and not needed", async () => {
  const without = (_: string, resource: string) => resource !== "pods/proxy"
  expect(await permissions(without)).toMatchObject({
    state: "warning",
    detail: expect.stringContaining("enough for a session without an operator; not allowed: get pods/proxy in shop"),
  })
  expect(await permissions(without, { PODSIDE_AGENT_TRANSPORT: "port-forward" })).toMatchObject({ state: "ok" })
  expect(await permissions(without, { PODSIDE_AGENT_TRANSPORT: "pod-proxy" })).toMatchObject({
    state: "problem",
    detail: "not allowed: get pods/proxy in shop",
  })
})

test("an operator that is out of service is told apart from none, and from one that must be there", async () => {
  const operator = async (answer: Route, environment: Record<string, string> = {}) => {
    const api = "GET /apis/operator.metalbear.co/v1"
    const fake = startFakeKube({ routes: { [api]: answer, [`${api}/mirrordoperators/operator`]: answer } })
    fakes.push(fake)
    const { config } = await loadConfig({ environment: { KUBECONFIG: fake.kubeconfig, ...environment } })
    const startup_retry = { min_ms: 1, max_ms: 1, max_retries: 0 }
    const checks = clusterChecks({ ...config, kubeconfig: fake.kubeconfig, startup_retry })
    return (await examine(checks.filter(({ name }) => name === "operator")))[0]!
  }
  const down = () => statusAnswer(503, "ServiceUnavailable", "no endpoints")
  const none = () => statusAnswer(404, "NotFound", "no such API")
  const next = expect.stringContaining("kubectl describe apiservice")
  const required = { MIRRORD_OPERATOR_ENABLE: "true" }
  expect(await operator(none)).toMatchObject({ state: "ok", detail: expect.stringContaining("there is none") })
  const detail = "out of service: no endpoints; sessions create an agent of their own"
  expect(await operator(down)).toMatchObject({ state: "warning", detail, next })
  const message = "The cluster's operator is out of service: no endpoints"
  expect(await operator(down, required)).toMatchObject({ state: "problem", detail: message, next })
})

/** Every finding about a cluster with these routes, by its name. */
async function findings(
  routes: Record<string, Route>,
  { kubeconfig, target = "pod/web" }: { kubeconfig?: string; target?: string } = {},
) {
  const fake = startFakeKube({ routes: { "GET /version": () => ({ gitVersion: "v1.34.0" }), ...routes } })
  fakes.push(fake)
  const environment = { MIRRORD_IMPERSONATED_TARGET: target }
  const { config } = await loadConfig({ environment })
  const all = await examine(clusterChecks({ ...config, kubeconfig: kubeconfig ?? fake.kubeconfig }))
  return Object.fromEntries(all.map(({ name, ...finding }) => [name, finding]))
}

const operatorPath = "GET /apis/operator.metalbear.co/v1/mirrordoperators/operator"
const operatorWith = (supported_features: string[]) => () => ({
  spec: {
    operator_version: "3.250.0",
    default_namespace: "shop",
    supported_features,
    license: { name: "x", organization: "y", expire_at: "2999-12-31" },
  },
})
const runningPod = {
  spec: { nodeName: "node", containers: [{ name: "web" }] },
  status: {
    phase: "Running",
    conditions: [{ type: "Ready", status: "True" }],
    containerStatuses: [{ name: "web", ready: true, containerID: "containerd://1", state: { running: {} } }],
  },
}

const forbidden = () => statusAnswer(403, "Forbidden", "no")

test("what a session does not need may be hidden from its user", async () => {
  const hidden = { "GET /api/v1/namespaces/shop": forbidden, "GET /api/v1/namespaces/shop/pods": forbidden }
  const found = await findings({ ...hidden, "GET /api/v1/nodes": forbidden })
  expect(found["pod security"]).toMatchObject({ state: "skipped", detail: expect.stringContaining("is unknown") })
  expect(found["agent image"]).toMatchObject({ state: "skipped", detail: expect.stringContaining("is unknown") })
})

test("a namespace that refuses agents is a problem, one that does not is none", async () => {
  const enforcing = (level: string) => () => ({
    metadata: { name: "shop", labels: { "pod-security.kubernetes.io/enforce": level } },
  })
  const security = async (level: string) =>
    (await findings({ "GET /api/v1/namespaces/shop": enforcing(level) }))["pod security"]
  expect(await security("baseline")).toMatchObject({
    state: "problem",
    next: expect.stringContaining("--agent-namespace"),
  })
  expect(await security("privileged")).toMatchObject({ state: "ok" })
})

test("where there is an operator its rights count, and nothing about agents does", async () => {
  const asked: unknown[] = []
  const answers = (allowed: boolean): Record<string, Route> => ({
    [operatorPath]: operatorWith(["ProxyApi", "ExtendableUserCredentials"]),
    "POST /apis/authorization.k8s.io/v1/selfsubjectaccessreviews": ({ body }) => {
      const { verb, resource } = (body as Asked).spec.resourceAttributes
      asked.push(`${verb} ${resource}`)
      return { status: { allowed: allowed || resource === "pods" } }
    },
  })
  const found = await findings(answers(true))
  expect(asked).toEqual(["get pods", "proxy targets", "create mirrordclusteroperatorusercredentials"])
  expect(found["permissions"]).toEqual({ state: "ok", detail: "enough for a session with the operator" })
  const skipped = { state: "skipped", detail: "the operator makes the agents" }
  expect(found).toMatchObject({ "pod security": skipped, "agent image": skipped })
  expect((await findings(answers(false)))["permissions"]).toMatchObject({
    state: "problem",
    detail: "not allowed: proxy targets in shop; create mirrordclusteroperatorusercredentials in the whole cluster",
    next: expect.stringContaining("mirrord-operator-user"),
  })
})

test.each([
  ["service/web", "without an operator", [], "can only be used with an operator"],
  ["service/web", "with one", ["ProxyApi"], undefined],
  ["job/once", "with an operator that makes no copies", ["ProxyApi"], "is used as a copy"],
  ["deployment/web", "without an operator", [], undefined],
])("the target %s %s is judged as a session would", async (target, _, features, problem) => {
  const pod = { metadata: { name: "web-0" }, ...runningPod }
  const workload = { metadata: { name: "web" }, spec: { selector: { app: "web", matchLabels: { app: "web" } } } }
  const operator: Record<string, Route> = features.length ? { [operatorPath]: operatorWith(features) } : {}
  const found = await findings(
    {
      ...operator,
      "GET /api/v1/namespaces/shop/services/web": () => workload,
      "GET /apis/apps/v1/namespaces/shop/deployments/web": () => workload,
      "GET /api/v1/namespaces/shop/pods": () => ({ items: [pod] }),
    },
    { target },
  )
  expect(found["target"]).toMatchObject(
    problem === undefined
      ? { state: "ok", detail: `"${target}" in shop has 1 ready pod(s)` }
      : { state: "problem", detail: expect.stringContaining(problem), next: expect.any(String) },
  )
})

test("a cluster that cannot be reached is one problem, not seven", async () => {
  const { cluster, ...others } = await findings({}, { kubeconfig: "/nonexistent/kubeconfig" })
  expect(cluster).toMatchObject({ state: "problem", next: expect.any(String) })
  for (const finding of Object.values(others))
    expect(finding).toEqual({ state: "skipped", detail: "the cluster cannot be asked" })
})
