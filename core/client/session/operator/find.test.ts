import { afterEach, expect, test } from "bun:test"
import { type FakeKube, type Route, startFakeKube, statusAnswer } from "../../../../test/fakes/kube-server.ts"
import { openKube } from "../../../kube/kube.ts"
import { daysLeft, findOperator, operatorApi } from "./find.ts"

const r1 = `GET ${operatorApi}/mirrordoperators/operator`
const r2 = `GET ${operatorApi}`
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
  return findOperator(kube, { operator }).then(
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
  const operator = await findOperator(openKube({ kubeconfig: fake.kubeconfig }), { baggage: "a=b" })
  expect(operator?.supports("ProxyApi")).toBe(true)
  expect(operator?.supports("CopyTarget")).toBe(false)
  expect(fake.requests[0]?.headers).toMatchObject({ "x-mirrord-cli-version": "3.250.0", baggage: "a=b" })
  expect(fake.requests[0]?.headers["x-client-hostname"]).toBeTruthy()
})

test("a licence is valid on its last day", () => {
  const noon = new Date("2026-05-10T12:00:00Z")
  expect([daysLeft("2026-05-10", noon), daysLeft("2026-05-09", noon), daysLeft("2026-05-12", noon)]).toEqual([0, -1, 2])
})
