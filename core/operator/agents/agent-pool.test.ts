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
const running = agent({ podIP: "10.0.0.9", containerStatuses: [{ name: "a", state: { running: {} } }] })

/** A pool that was told of a starting agent and of nothing since, on a cluster where it is `now`. */
async function poolBehindItsTime(now: object) {
  const asked: string[] = []
  const ending = new AbortController()
  const kube = {
    async request(method: string, path: string) {
      asked.push(method)
      if (method === "DELETE") return {}
      return path.endsWith(name) ? now : { items: [starting], metadata: { resourceVersion: "1" } }
    },
    async *watch() {
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
  return { asked, obtained: obtained.finally(() => ending.abort()) }
}

describe("an agent that seems not to have started in time", () => {
  test("is used when it runs by now, whatever was told last: others may use it", async () => {
    const { asked, obtained } = await poolBehindItsTime(running)
    expect(await obtained).toMatchObject({ name, hostname: "10.0.0.9" })
    expect(asked).not.toContain("DELETE")
  })

  test("is removed when it really has not", async () => {
    const { asked, obtained } = await poolBehindItsTime(starting)
    await expect(obtained).rejects.toMatchObject({ code: "agent-not-started" })
    expect(asked).toContain("DELETE")
  })
})
