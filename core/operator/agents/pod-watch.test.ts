import { expect, test } from "bun:test"
import { chooseContainer, notUsable } from "../../kube/containers.ts"
import type { Kube, WatchEvent } from "../../kube/kube.ts"
import type { Pod } from "../../kube/objects.ts"
import { silentLogger } from "../../log.ts"
import { podPlace } from "./agent-object.ts"
import { ephemeralState } from "./agent-state.ts"
import { PodWatch } from "./pod-watch.ts"
import { watchedPod } from "./watched-pod.ts"

const pod = (name: string, app: string): Pod => ({
  metadata: { name, namespace: "shop", labels: { app }, resourceVersion: "2" },
  spec: { containers: [] },
})

/** A namespace with these pods at first, listed one to a page; what the test says of them afterwards is watched. */
function namespaceOf(pods: Pod[]) {
  let said: WatchEvent<Pod>[] = []
  let wake = () => {}
  const kube = {
    request: async (_method: string, _path: string, { query }: { query: { continue?: string } }) => {
      const at = Number(query.continue ?? 0)
      const more = at + 1 < pods.length ? { continue: String(at + 1) } : {}
      return { items: pods.slice(at, at + 1), metadata: { resourceVersion: "1", ...more } }
    },
    async *watch(_path: string, { signal }: { signal: AbortSignal }) {
      signal.addEventListener("abort", () => wake())
      while (!signal.aborted) {
        const events = said
        said = []
        yield* events
        await new Promise<void>((resolve) => {
          wake = resolve
          if (said.length > 0) resolve()
        })
      }
    },
  } as unknown as Kube
  const say = (type: WatchEvent<Pod>["type"], object: Pod) => {
    said.push({ type, object })
    wake()
  }
  return { kube, say }
}

test("a subscriber hears of its own pods, those that were and those that become its own, and of no others", async () => {
  const { kube, say } = namespaceOf([pod("web-1", "web"), pod("api-1", "api")])
  const watch = new PodWatch(kube, silentLogger)
  const heard: string[] = []
  const all: string[] = []
  const names = (pods: readonly Pod[]) => pods.map(({ metadata }) => metadata.name).join(" ")
  watch.subscribe(
    "shop",
    ({ metadata }) => metadata.labels?.["app"] === "web",
    (pods) => heard.push(names(pods)),
  )
  watch.subscribe(
    "shop",
    () => true,
    (pods) => all.push(names(pods)),
  )
  say("ADDED", pod("api-2", "api"))
  say("ADDED", pod("web-2", "web"))
  say("MODIFIED", pod("api-1", "web"))
  say("MODIFIED", pod("web-1", "api"))
  say("DELETED", pod("api-2", "api"))
  say("DELETED", pod("web-2", "web"))
  while (all.length < 7) await Bun.sleep(1)
  watch.stop()
  expect(heard).toEqual(["web-1", "web-1 web-2", "web-1 api-1 web-2", "api-1 web-2", "api-1"])
})

test("a subscriber hears of its pods also when they could not be listed at first", async () => {
  const { kube } = namespaceOf([pod("web-1", "web")])
  const { request } = kube
  let asked = 0
  const slow: Kube["request"] = async (...args) => {
    if (asked++ === 0) throw new Error("the API server is away")
    return request(...args)
  }
  const watch = new PodWatch({ ...kube, request: slow }, silentLogger)
  const heard: number[] = []
  watch.subscribe(
    "shop",
    () => true,
    (pods) => heard.push(pods.length),
  )
  for (let i = 0; i < 500 && heard.length === 0; i++) await Bun.sleep(5)
  watch.stop()
  expect(heard).toEqual([1])
})

test("a watched pod answers what sessions ask as the whole one does", () => {
  const whole: Pod = {
    metadata: {
      ...pod("web-1", "web").metadata,
      uid: "u1",
      annotations: { "kubectl.kubernetes.io/default-container": "app", "kubectl.kubernetes.io/last-applied": "…" },
      ownerReferences: [{ apiVersion: "apps/v1", kind: "ReplicaSet", name: "web-5d", uid: "u2", controller: true }],
    },
    spec: {
      nodeName: "node-1",
      containers: [{ name: "side" }, { name: "app", image: "app:1", env: [{ name: "SECRET", value: "x" }] }],
      initContainers: [{ name: "first" }, { name: "beside", restartPolicy: "Always", image: "beside:1" }],
    },
    status: {
      phase: "Running",
      podIP: "10.0.0.5",
      containerStatuses: ["side", "app"].map((name) => ({ name, ready: true, containerID: `containerd://${name}` })),
      initContainerStatuses: ["first", "beside"].map((name) => ({ name, ready: true, containerID: `x://${name}` })),
      ephemeralContainerStatuses: [{ name: "mirrord-agent-1", state: { terminated: { exitCode: 0 } } }],
    },
  }
  const watched = watchedPod(whole)
  expect(chooseContainer(watched)).toEqual(chooseContainer(whole))
  expect(notUsable(watched, "app")).toBeUndefined()
  expect(chooseContainer(watched, "beside").name).toBe("beside")
  expect(notUsable(watched, "beside")).toBeUndefined()
  expect(JSON.stringify(watched)).not.toContain("first")
  expect(podPlace(watched, "app", "shop")).toEqual(podPlace(whole, "app", "shop"))
  expect(ephemeralState(watched, "mirrord-agent-1")).toEqual(ephemeralState(whole, "mirrord-agent-1"))
  expect(watched.metadata).toMatchObject({ labels: { app: "web" }, ownerReferences: whole.metadata.ownerReferences })
  expect(JSON.stringify(watched)).not.toContain("SECRET")
  const gone = watchedPod({ ...whole, metadata: { ...whole.metadata, deletionTimestamp: "2026-01-01T00:00:00Z" } })
  expect(notUsable(gone, "app")).toContain("deleted")
  expect(notUsable(watchedPod({ ...whole, status: { phase: "Pending" } }), "app")).toContain("Pending")
})
