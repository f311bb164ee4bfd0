import { afterEach, expect, test } from "bun:test"
import { type FakeKube, type Route, startFakeKube, statusAnswer } from "../../../../test/fakes/kube-server.ts"
import { openKube } from "../../../kube/kube.ts"
import { daysLeft, findOperator, operatorApi, readDescription, trialNotice } from "./find.ts"

const r1 = `GET ${operatorApi}/mirrordoperators/operator`
const r2 = `GET ${operatorApi}`
const startup_retry = { min_ms: 1, max_ms: 1, max_retries: 0 }
const fakes: FakeKube[] = []
afterEach(async () => {
  for (const fake of fakes.splice(0)) await fake.stop()
})

const description = (expire_at = "2999-12-31") => ({
  metadata: { name: "operator" },
  spec: {
    operator_version: "4.0.0",
    default_namespace: "shop",
    supported_features: ["ProxyApi", "SomethingNew"],
    license: { name: "x", organization: "y", expire_at, fingerprint: "f" },
  },
})
const registered = () => ({ resources: [{ name: "mirrordoperators", kind: "MirrordOperator" }] })
const down = () => statusAnswer(503, "ServiceUnavailable", "no endpoints")

/** "found", "none", or the code of the error. */
async function outcome(routes: Record<string, Route>, operator?: boolean): Promise<string> {
  const fake = startFakeKube({ routes })
  fakes.push(fake)
  const kube = openKube({ kubeconfig: fake.kubeconfig })
  return findOperator(kube, { operator, startup_retry }).then(
    (found) => (found ? "found" : "none"),
    (error) => error.code,
  )
}

test.each<[situation: string, routes: Record<string, Route>, unset: string, required: string]>([
  ["an operator that answers is used", { [r1]: () => description() }, "found", "found"],
  ["no such API means there is none", {}, "none", "none"],
  ["an API without the kind means there is none", { [r1]: down, [r2]: () => ({ resources: [] }) }, "none", "none"],
  [
    "one that is out of service is passed by, unless it is required",
    { [r1]: down, [r2]: down },
    "none",
    "operator-out-of-service",
  ],
  ["one that is there and fails is an error", { [r1]: down, [r2]: registered }, "kube-failed", "kube-failed"],
  [
    "one that may not be seen is an error",
    { [r1]: () => statusAnswer(403, "Forbidden", "no"), [r2]: registered },
    "kube-forbidden",
    "kube-forbidden",
  ],
  ["nonsense is an error", { [r1]: () => ({ spec: {} }) }, "operator-bad-answer", "operator-bad-answer"],
  [
    "an expired licence turns it off, unless it is required",
    { [r1]: () => description("2020-01-01") },
    "none",
    "operator-license",
  ],
])("%s", async (_, routes, unset, required) => {
  expect(await outcome(routes)).toBe(unset)
  expect(await outcome(routes, true)).toBe(required)
})

test("the client says who it is", async () => {
  const fake = startFakeKube({ routes: { [r1]: () => description() } })
  fakes.push(fake)
  const operator = await findOperator(openKube({ kubeconfig: fake.kubeconfig }), { baggage: "a=b", startup_retry })
  expect(operator?.supports("ProxyApi")).toBe(true)
  expect(operator?.supports("CopyTarget")).toBe(false)
  expect(fake.requests[0]?.headers).toMatchObject({ "x-mirrord-cli-version": "3.250.0", baggage: "a=b" })
  expect(fake.requests[0]?.headers["x-client-hostname"]).toBeTruthy()
})

test("an operator that is busy for a moment is asked again, and used", async () => {
  let left = 2
  const fake = startFakeKube({ routes: { [r1]: () => (left-- > 0 ? down() : description()), [r2]: down } })
  fakes.push(fake)
  const retry = { min_ms: 1, max_ms: 2, max_retries: 2 }
  expect(await findOperator(openKube({ kubeconfig: fake.kubeconfig }), { startup_retry: retry })).toBeDefined()
  expect(fake.requests.map(({ path }) => path)).toEqual(Array(3).fill(r1.slice("GET ".length)))
})

test("who may not see the operator is told what to ask for, and how to go without", async () => {
  const fake = startFakeKube({ routes: { [r1]: () => statusAnswer(403, "Forbidden", "no"), [r2]: registered } })
  fakes.push(fake)
  await expect(findOperator(openKube({ kubeconfig: fake.kubeconfig }), { startup_retry })).rejects.toMatchObject({
    code: "kube-forbidden",
    next: expect.stringMatching(/mirrord-operator-user.*`operator: false`/),
  })
})

test("that an operator is done without for its licence is said", async () => {
  const fake = startFakeKube({ routes: { [r1]: () => description("2020-01-01") } })
  fakes.push(fake)
  const heard: string[] = []
  const kube = openKube({ kubeconfig: fake.kubeconfig })
  expect(await findOperator(kube, { startup_retry }, ({ reason }) => heard.push(reason))).toBeUndefined()
  expect(heard).toEqual(["its licence has run out"])
})

test.each([
  ["x (Trial)", "2026-05-20", { text: "the operator's trial licence ends in 10 days", isLate: false }],
  ["x (Trial)", "2026-05-11", { text: "the operator's trial licence ends in 1 day", isLate: true }],
  ["x (Trial)", "2026-05-10", { text: "the operator's trial licence ends today", isLate: true }],
  ["x", "2026-05-11", undefined],
])("the licence %s until %s: %j", (name, expire_at, notice) => {
  const { spec } = readDescription(description(expire_at))
  expect(trialNotice({ ...spec, license: { ...spec.license, name } }, new Date("2026-05-10T12:00:00Z"))).toEqual(
    notice!,
  )
})

test("a licence is valid on its last day", () => {
  const noon = new Date("2026-05-10T12:00:00Z")
  expect([daysLeft("2026-05-10", noon), daysLeft("2026-05-09", noon), daysLeft("2026-05-12", noon)]).toEqual([0, -1, 2])
})
