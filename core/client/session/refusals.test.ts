import { afterAll, expect, test } from "bun:test"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { loadConfig } from "../../../config/load.ts"
import { startFakeKube } from "../../../test/fakes/kube-server.ts"
import { AppError } from "../../errors.ts"
import { openKube } from "../../kube/kube.ts"
import { parseTarget } from "../../target.ts"
import { refuseWhatNeedsTheOperator } from "./open.ts"
import type { Operator } from "./operator/find.ts"
import { requireFeatures, targetFacts } from "./operator/session.ts"

const folder = mkdtempSync(join(tmpdir(), "podside-refusals-"))
afterAll(() => rmSync(folder, { recursive: true }))

async function configured(feature: object) {
  const file = join(folder, `${crypto.randomUUID()}.json`)
  writeFileSync(file, JSON.stringify({ target: "deployment/web", feature }))
  return loadConfig({ file, environment: {} })
}
const operator = (...features: string[]): Operator =>
  ({
    description: { spec: { operator_version: "3.250.0" } },
    supports: (feature: string) => features.includes(feature),
    headers: {},
  }) as unknown as Operator
const codeOf = (work: () => void): string | undefined => {
  try {
    work()
    return undefined
  } catch (thrown) {
    return thrown instanceof AppError && thrown.next !== undefined ? thrown.code : String(thrown)
  }
}
const copied = { copy_target: { enabled: true } }

test.each<[sentence: string, feature: object, target: string, code: string | undefined]>([
  ["a deployment needs no operator", {}, "deployment/web", undefined],
  ["a copy does", copied, "deployment/web", "operator-needed"],
  ["a job does", {}, "job/once", "operator-needed"],
  ["a service does", {}, "service/web", "operator-needed"],
])("without an operator: %s", async (_, feature, target, code) => {
  const { config } = await configured(feature)
  expect(codeOf(() => refuseWhatNeedsTheOperator(config, parseTarget(target)))).toBe(code!)
})

test.each<[sentence: string, feature: object, target: string, features: string[], code: string | undefined]>([
  ["a deployment needs nothing special", {}, "deployment/web", [], undefined],
  ["labels need a feature", {}, "label/app=web", [], "feature-unsupported"],
  ["that it has", {}, "label/app=web", ["LabelTargeting"], undefined],
  ["a job is a copy, and a pod of it is not", {}, "job/once", [], "operator-no-copies"],
  ["a copy needs one, too", copied, "deployment/web", [], "feature-unsupported"],
  ["and is not made by this client", copied, "deployment/web", ["CopyTarget"], "copy-target-unsupported"],
])("with an operator: %s", async (_, feature, target, features, code) => {
  const { config } = await configured(feature)
  const options = { config, operator: operator(...features), target: parseTarget(target) }
  expect(codeOf(() => requireFeatures(options))).toBe(code!)
})

test.each<[sentence: string, features: string[], multiCluster: boolean | undefined, target: string, outcome: string]>([
  [
    "a target of another cluster is left to the operator",
    ["MultiClusterPrimary"],
    undefined,
    "deployment/web",
    "unread",
  ],
  ["one of this cluster is looked for", [], undefined, "deployment/web", "target-not-found"],
  ["so is one the configuration wants here", ["MultiClusterPrimary"], false, "deployment/web", "target-not-found"],
])("%s", async (_, features, multi_cluster, path, outcome) => {
  const kube = startFakeKube()
  try {
    const { config } = await configured({})
    const facts = targetFacts({
      kube: openKube({ kubeconfig: kube.kubeconfig }),
      operator: operator(...features),
      config: { ...config, multi_cluster },
      target: parseTarget(path),
      namespace: "shop",
    })
    if (outcome === "unread") {
      expect(await facts).toBeUndefined()
      expect(kube.requests).toEqual([])
    } else await expect(facts).rejects.toMatchObject({ code: outcome })
  } finally {
    await kube.stop()
  }
})

test("that copies are missing is said once, by the session", async () => {
  const { warnings } = await configured({ ...copied, network: { incoming: "steal" } })
  expect(warnings.filter((text) => text.includes("copy_target"))).toEqual([])
})
