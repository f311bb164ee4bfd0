import { describe, expect, test } from "bun:test"
import { readOperatorSettings } from "../../../config/operator.ts"
import type { Kube } from "../../kube/kube.ts"
import type { Pod } from "../../kube/objects.ts"
import { silentLogger } from "../../log.ts"
import { agentName, podPlace } from "./agent-object.ts"
import { AgentPool } from "./agent-pool.ts"

const usual = readOperatorSettings({})
const settings = { ...usual, agent: { ...usual.agent, startupSeconds: 0.1 } }
const target: Pod = {
  metadata: { name: "web-0", namespace: "shop", uid: "u1" },
  spec: { containers: [{ name: "app" }] },
  status: { phase: "Running", containerStatuses: [{ name: "app", ready: true, containerID: "containerd://c1" }] },
}
const place = podPlace(target, "app", "shop")
const { name, namespace } = agentName(place, 0, settings)
const agent = (status: object) => ({ metadata: { name, namespace, uid: "a1" }, spec: { containers: [] }, status })
const starting = agent({ containerStatuses: [{ name: "a", state: { waiting: { reason: "ContainerCreating" } } }] })
const ended = agent({ phase: "Succeeded" })
const running = agent({ podIP: "10.0.0.9", containerStatuses: [{ name: "a", state: { running: {} } }] })

/** A pool that was told of an agent and, once `told` is called, of what became of it; asked, the cluster says it is `now`. */
async function poolBehindItsTime(now: object, first: object = starting, beside: Pod = target) {
  const asked: string[] = []
  const news = Promise.withResolvers<{ type: string; object: object }>()
  const ending = new AbortController()
  const kube = {
    async request(method: string, path: string) {
      asked.push(method)
      if (method !== "GET") return {}
      if (path.endsWith("/pods/web-0")) return beside
      return path.endsWith(name) ? now : { items: [first], metadata: { resourceVersion: "1" } }
    },
    async *watch() {
      yield await news.promise
      await new Promise((resolve) => ending.signal.addEventListener("abort", resolve))
    },
  }
  const pool = new AgentPool({
    kube: kube as unknown as Kube,
    settings,
    operatorCertificate: undefined,
    owner: undefined,
    log: silentLogger,
    signal: ending.signal,
  })
  await pool.start()
  const obtained = pool.obtain(place, new AbortController().signal, async () => undefined)
  return { pool, asked, obtained, told: news.resolve, end: () => ending.abort() }
}

describe("an agent that seems not to have started in time", () => {
  test("is used when it runs by now, whatever was told last: others may use it", async () => {
    const { asked, obtained, end } = await poolBehindItsTime(running)
    expect(await obtained).toMatchObject({ name, hostname: "10.0.0.9" })
    end()
    expect(asked).not.toContain("DELETE")
  })

  test("is removed when it really has not", async () => {
    const { asked, obtained, end } = await poolBehindItsTime(starting)
    await expect(obtained).rejects.toMatchObject({ code: "agent-not-started" })
    end()
    expect(asked).toContain("DELETE")
  })
})

test("an agent that has ended and is still listed is not waited for: another one is made", async () => {
  const { asked, obtained, told, end } = await poolBehindItsTime(ended, ended)
  const next = agentName(place, 1, settings)
  told({ type: "ADDED", object: { ...running, metadata: { ...next, uid: "a2" } } })
  expect(await obtained).toMatchObject({ name: next.name, hostname: "10.0.0.9" })
  expect(asked.filter((method) => method === "POST")).toHaveLength(1)
  end()
})

test("an agent that is removed before it has started is not waited for", async () => {
  const { obtained, told, end } = await poolBehindItsTime(starting)
  told({ type: "DELETED", object: starting })
  await expect(obtained).rejects.toThrow("it was deleted")
  end()
})

test("beside a pod that has been restarted meanwhile none is made", async () => {
  const restarted = structuredClone(target)
  restarted.status!.containerStatuses![0]!.containerID = "containerd://c2"
  const { asked, obtained, end } = await poolBehindItsTime(ended, ended, restarted)
  await expect(obtained).rejects.toThrow("has been replaced or restarted")
  expect(asked).not.toContain("POST")
  end()
})

test("whoever has left already gets no agent", async () => {
  const { pool, end } = await poolBehindItsTime(running, running)
  const left = AbortSignal.abort(new Error("the client left"))
  await expect(pool.obtain(place, left, async () => undefined)).rejects.toThrow("the client left")
  end()
})

test.each<[string, "MODIFIED" | "DELETED", object, boolean]>([
  ["has ended", "MODIFIED", ended, true],
  ["was removed", "DELETED", running, true],
  ["was removed, and a namesake is there", "MODIFIED", { ...running, metadata: { name, namespace, uid: "a2" } }, true],
  ["is still the same", "MODIFIED", running, false],
])("an agent that %s: who dials it hears so, until he does not want to", async (_what, type, object, ends) => {
  const { obtained, told, end } = await poolBehindItsTime(running, running)
  const { onEnd } = await obtained
  const heard: string[] = []
  onEnd(() => heard.push("dialling"))
  onEnd(() => heard.push("not any more"))()
  told({ type, object })
  await new Promise(setImmediate)
  expect(heard).toEqual(ends ? ["dialling"] : [])
  end()
})
