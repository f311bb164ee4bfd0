import { expect, test } from "bun:test"
import type { OperatorSettings } from "../../../config/operator.ts"
import type { Kube } from "../../kube/kube.ts"
import type { Pod } from "../../kube/objects.ts"
import { silentLogger } from "../../log.ts"
import { agentIdentity, podPlace } from "./agent-object.ts"
import { EphemeralAgents } from "./ephemeral-agents.ts"
import type { PodWatch } from "./pod-watch.ts"

const settings = {
  agent: { port: undefined, image: "agent:1", options: {}, extraEnv: {}, idleSeconds: 1, startupSeconds: 30 },
} as unknown as OperatorSettings

function pod(uid: string, state?: object): Pod {
  const place = placeOf(uid)
  const { name } = agentIdentity(place.key, 0, undefined)
  return {
    metadata: { name: "web-0", namespace: "shop", uid },
    spec: { nodeName: "node-1", containers: [{ name: "app" }], ephemeralContainers: state ? [{ name }] : [] },
    status: {
      phase: "Running",
      podIP: "10.0.0.5",
      containerStatuses: [{ name: "app", ready: true, containerID: `containerd://${uid}` }],
      ephemeralContainerStatuses: state ? [{ name, state }] : [],
    },
  } as Pod
}

function placeOf(uid: string) {
  const containerStatuses = [{ name: "app", containerID: `containerd://${uid}` }]
  const named = { metadata: { name: "web-0", uid }, spec: { containers: [] }, status: { containerStatuses } }
  return podPlace(named as unknown as Pod, "app", "shop")
}

/** Agents of a namespace with one pod; `become` is the next the watch tells of. */
function agents(first: Pod) {
  let there: Pod[] = [first]
  const subscribers = new Set<() => void>()
  const watch = {
    subscribe(_namespace: string, isOurs: (pod: Pod) => boolean, listener: (pods: readonly Pod[]) => void) {
      const tell = () => listener(there.filter(isOurs))
      subscribers.add(tell)
      tell()
      return () => subscribers.delete(tell)
    },
  } as unknown as PodWatch
  const kube = { request: async (method: string) => (method === "GET" ? first : {}) } as unknown as Kube
  const options = { kube, settings, operatorCertificate: undefined, watch, targetless: undefined as never }
  const become = (...pods: Pod[]) => {
    there = pods
    for (const tell of [...subscribers]) tell()
  }
  return { source: new EphemeralAgents({ ...options, log: silentLogger }), become }
}

const obtain = (source: EphemeralAgents) =>
  source.obtain(placeOf("one"), new AbortController().signal, async () => undefined)

test("an agent ends with its pod, though another of the same name is there at once", async () => {
  const { source, become } = agents(pod("one", { running: {} }))
  const agent = await obtain(source)
  let ended = 0
  agent.onEnd(() => ended++)
  become(pod("one", { running: {} }))
  expect(ended).toBe(0)
  become(pod("two"))
  expect(ended).toBe(1)
})

test("who waits for an agent waits no longer when its pod is gone, whatever took its name", async () => {
  const { source, become } = agents(pod("one"))
  const obtained = obtain(source)
  await Bun.sleep(5)
  become(pod("two"))
  await expect(obtained).rejects.toThrow("was deleted")
})

test("who waits for an agent whose pod the watch has not told of yet gets it", async () => {
  const { source, become } = agents(pod("one"))
  become()
  const obtained = obtain(source)
  await Bun.sleep(5)
  become(pod("one", { running: {} }))
  expect((await obtained).hostname).toBe("10.0.0.5")
})
