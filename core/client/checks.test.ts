import { afterEach, expect, test } from "bun:test"
import { loadConfig } from "../../config/load.ts"
import { type FakeKube, type Route, startFakeKube, statusAnswer } from "../../test/fakes/kube-server.ts"
import { clusterChecks, machineChecks } from "./checks.ts"
import { examine, formatFindings } from "./doctor.ts"

const fakes: FakeKube[] = []
afterEach(async () => {
  for (const fake of fakes.splice(0)) await fake.stop()
})

const able = { unavailable: async () => undefined, restriction: async () => undefined }
const scope = "/proc/sys/kernel/yama/ptrace_scope"

/** State of one finding of the machine, by its name. */
async function machine(
  name: string,
  files: Record<string, string>,
  engine: Parameters<typeof machineChecks>[0] = able,
) {
  const findings = await examine(machineChecks(engine, (path) => files[path]))
  return findings.find((finding) => finding.name === name)!
}

test.each<[scope: string | undefined, state: string]>([
  [undefined, "ok"],
  ["0", "ok"],
  ["1", "ok"],
  ["2", "warning"],
  ["3", "warning"],
])("ptrace_scope %s is %s", async (value, state) => {
  const finding = await machine("ptrace scope", value === undefined ? {} : { [scope]: value })
  expect(finding.state).toBe(state as typeof finding.state)
  if (state === "warning") expect(finding.next).toContain("kernel.yama.ptrace_scope=1")
})

test("what the engine lacks is a problem with its next step", async () => {
  const lack = { code: "engine-kernel-too-old", reason: "The kernel is 4.19", next: "Update the kernel." }
  const finding = await machine("process engine", {}, { ...able, unavailable: async () => lack })
  expect(finding).toEqual({ name: "process engine", state: "problem", detail: lack.reason, next: lack.next })
  expect(formatFindings([finding])).toBe("x process engine: The kernel is 4.19\n    Update the kernel.\n")
  expect((await machine("process engine", {})).state).toBe("ok")
  const limited = await machine("process engine", {}, { ...able, restriction: async () => "sockets are made here" })
  expect(limited).toMatchObject({ state: "warning", detail: "works, with limits: sockets are made here" })
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
    const checks = clusterChecks({ ...config, kubeconfig: fake.kubeconfig })
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
