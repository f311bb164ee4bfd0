import { afterEach, expect, test } from "bun:test"
import { type Route, startFakeKube, statusAnswer } from "../../../../test/fakes/kube-server.ts"
import { AppError } from "../../../errors.ts"
import { openKube } from "../../../kube/kube.ts"
import { explainLoss } from "./loss.ts"

const fakes: { stop(): Promise<void> }[] = []
afterEach(async () => {
  for (const fake of fakes.splice(0)) await fake.stop()
})

const loss = new AppError("agent-lost", "Lost the agent a: the connection was cut", { next: "Start again." })

async function explained(answer: Route, ephemeralContainer?: string) {
  const fake = startFakeKube({ routes: { "GET /api/v1/namespaces/shop/pods/agent-0": answer } })
  fakes.push(fake)
  const kube = openKube({ kubeconfig: fake.kubeconfig })
  return explainLoss(loss, "agent a", { kube, namespace: "shop", name: "agent-0", ephemeralContainer })
}

const pod = (status: object, deletionTimestamp?: string) => ({
  metadata: { name: "agent-0", deletionTimestamp },
  spec: { containers: [] },
  status,
})
const state = (terminated: object | undefined) => ({ state: terminated ? { terminated } : { running: {} } })

test("a container that ran out of memory is told once Kubernetes knows, with the way out", async () => {
  let asked = 0
  const error = await explained(() =>
    pod({ containerStatuses: [state(asked++ < 2 ? undefined : { reason: "OOMKilled", exitCode: 137 })] }),
  )
  expect(asked).toBe(3)
  expect(error).toMatchObject({
    code: "agent-lost",
    message: "Lost the agent a: its container ended (OOMKilled, exit code 137)",
    next: expect.stringContaining("limits.memory"),
  })
})

test.each<[situation: string, answer: Route, why: string]>([
  ["deleted", () => statusAnswer(404, "NotFound", "no such pod"), "its pod was deleted"],
  ["being deleted", () => pod({}, "2026-01-01T00:00:00Z"), "its pod was deleted"],
  [
    "evicted",
    () => pod({ reason: "Evicted", message: "the node has no room" }),
    "its pod was evicted: the node has no room",
  ],
  [
    "failed",
    () => pod({ containerStatuses: [state({ reason: "Error", exitCode: 1 })] }),
    "its container ended (Error, exit code 1)",
  ],
])("an agent whose pod was %s is told so", async (_, answer, why) => {
  expect(await explained(answer)).toMatchObject({ message: `Lost the agent a: ${why}`, next: "Start again." })
})

test("of a pod with an agent in it only the agent's container counts", async () => {
  const both = (terminated: object | undefined) =>
    pod({
      containerStatuses: [state({ exitCode: 3 })],
      ephemeralContainerStatuses: [{ name: "own", ...state(terminated) }],
    })
  expect((await explained(() => both({ reason: "Error", exitCode: 2 }), "own")).message).toContain("exit code 2")
})

test("where nothing is known the loss stays what it is", async () => {
  expect(await explained(() => statusAnswer(403, "Forbidden", "no"))).toBe(loss)
  expect(await explained(() => pod({ containerStatuses: [state(undefined)] }))).toBe(loss)
})
