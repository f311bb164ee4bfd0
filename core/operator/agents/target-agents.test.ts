import { expect, test } from "bun:test"
import type { Kube } from "../../kube/kube.ts"
import type { Pod } from "../../kube/objects.ts"
import { silentLogger } from "../../log.ts"
import type { PodWatch } from "./pod-watch.ts"
import { TargetAgents } from "./target-agents.ts"

const selector = { matchLabels: { app: "web" } }

function pod(name: string, { ready = true, containerID = "containerd://1" } = {}): Pod {
  return {
    metadata: {
      name,
      namespace: "shop",
      uid: `uid-${name}`,
      labels: { app: "web" },
      ownerReferences: [{ apiVersion: "apps/v1", kind: "ReplicaSet", name: "web-5d", uid: "u2", controller: true }],
    },
    spec: { nodeName: "node-1", containers: [{ name: "app" }] },
    status: { phase: "Running", podIP: "10.0.0.5", containerStatuses: [{ name: "app", ready, containerID }] },
  }
}

/** A target whose pods the test tells. Until `answers` is set Kubernetes fails for what it is asked. */
function target() {
  let tell: ((pods: readonly Pod[]) => void) | undefined
  const kubernetes = { answers: true, isFollowed: () => tell !== undefined }
  const kube = {
    async request(_method: string, path: string) {
      if (!kubernetes.answers) throw new Error("the API server is away")
      const owner = { apiVersion: "apps/v1", kind: "Deployment", name: "web", uid: "u1", controller: true }
      return path.includes("replicasets")
        ? { metadata: { ownerReferences: [owner] } }
        : { metadata: {}, spec: { selector } }
    },
  } as unknown as Kube
  const subscribe: PodWatch["subscribe"] = (_namespace, _isOurs, listener) => {
    tell = listener
    return () => {}
  }
  const agents = new TargetAgents({
    target: { kind: "deployment", name: "web" },
    namespace: "shop",
    kube,
    watch: { subscribe } as PodWatch,
    pool: undefined as never,
    stealTls: async () => undefined,
    log: silentLogger,
    identity: undefined,
    startupSeconds: 1,
    retryMs: 20,
  })
  return { agents, kubernetes, tell: (pods: readonly Pod[]) => tell?.(pods) }
}

const names = (agents: TargetAgents) => agents.all().map((agent) => agent.pod?.name)

async function until(what: string, condition: () => boolean): Promise<void> {
  for (let i = 0; i < 500; i++) {
    if (condition()) return
    await Bun.sleep(5)
  }
  throw new Error(`never: ${what}`)
}

test("a pod that is not ready for a while keeps its agent, one whose container was replaced gets another", async () => {
  const { agents, tell } = target()
  await agents.follow()
  tell([pod("a"), pod("b")])
  await until("both", () => agents.all().length === 2)
  const before = agents.all()[1]
  tell([pod("a"), pod("b", { ready: false })])
  await until("one", () => agents.all().length === 1)
  tell([pod("a"), pod("b")])
  await until("both again", () => agents.all().length === 2)
  expect(agents.all()[1]).toBe(before!)
  tell([pod("a"), pod("b", { ready: false, containerID: "containerd://2" })])
  await until("one again", () => agents.all().length === 1)
  tell([pod("a"), pod("b", { containerID: "containerd://2" })])
  await until("both once more", () => agents.all().length === 2)
  expect(agents.all()[1]).not.toBe(before!)
})

test("a pod that gets other labels is the same one with those", async () => {
  const { agents, tell } = target()
  await agents.follow()
  tell([pod("a")])
  await until("the pod", () => agents.all().length === 1)
  const [before] = agents.pods()
  expect(before!.labels).toEqual({ app: "web" })
  const { metadata, ...rest } = pod("a")
  tell([{ ...rest, metadata: { ...metadata, labels: { app: "web", tier: "secret" } } }])
  await until("its labels", () => "tier" in agents.pods()[0]!.labels)
  expect(agents.pods()[0]).toBe(before!)
  expect(agents.all()[0]!.pod).toBe(before!)
})

test("a pod whose maker cannot be asked for at the moment is used as soon as it can", async () => {
  const { agents, kubernetes, tell } = target()
  await agents.follow()
  kubernetes.answers = false
  tell([pod("a")])
  await Bun.sleep(50)
  expect(names(agents)).toEqual([])
  kubernetes.answers = true
  await until("the pod", () => names(agents).join() === "a")
})

test("of two states of the pods the later counts, whichever was asked about for longer", async () => {
  const { agents, kubernetes, tell } = target()
  await agents.follow()
  kubernetes.answers = false
  tell([pod("a")])
  await Bun.sleep(10)
  tell([pod("b")])
  kubernetes.answers = true
  await until("the pod", () => names(agents).length > 0)
  await Bun.sleep(50)
  expect(names(agents)).toEqual(["b"])
})

test("a target whose selector cannot be read at the moment is followed as soon as it can, unless its session has ended", async () => {
  const [one, ended] = [target(), target()]
  for (const { agents, kubernetes } of [one, ended]) {
    kubernetes.answers = false
    void agents.follow()
  }
  await Bun.sleep(50)
  ended.agents.close()
  for (const { kubernetes } of [one, ended]) kubernetes.answers = true
  await until("its pods", () => one.kubernetes.isFollowed())
  expect(ended.kubernetes.isFollowed()).toBe(false)
})
