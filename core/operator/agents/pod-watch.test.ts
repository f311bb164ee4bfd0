import { expect, test } from "bun:test"
import type { Kube, WatchEvent } from "../../kube/kube.ts"
import type { Pod } from "../../kube/objects.ts"
import { silentLogger } from "../../log.ts"
import { PodWatch } from "./pod-watch.ts"

const pod = (name: string, app: string): Pod => ({
  metadata: { name, namespace: "shop", labels: { app }, resourceVersion: "2" },
  spec: { containers: [] },
})

/** A namespace with these pods at first; what the test says of them afterwards is watched. */
function namespaceOf(pods: Pod[]) {
  let said: WatchEvent<Pod>[] = []
  let wake = () => {}
  const kube = {
    request: async () => ({ items: pods, metadata: { resourceVersion: "1" } }),
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
