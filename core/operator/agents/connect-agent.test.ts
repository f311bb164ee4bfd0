import { afterAll, expect, test } from "bun:test"
import { podPlace } from "./agent-object.ts"
import type { AgentSource } from "./agent-source.ts"
import { connectAgent } from "./connect-agent.ts"

const listener = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data() {} } })
const gone = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data() {} } })
gone.stop(true)
afterAll(() => listener.stop(true))

const place = podPlace(
  {
    metadata: { name: "web-0", namespace: "shop", uid: "u1" },
    spec: { containers: [{ name: "app" }] },
    status: { containerStatuses: [{ name: "app", ready: true, containerID: "containerd://c1" }] },
  },
  "app",
  "shop",
)

/** Agents one after the other, the last of them for ever; `ends` is seen to have ended after 50 ms. */
function agents(...ports: { port: number; ends: boolean }[]) {
  const asked: number[] = []
  let followed = 0
  const source: AgentSource = {
    async obtain() {
      const { port, ends } = ports[Math.min(asked.length, ports.length - 1)]!
      asked.push(port)
      const onEnd = (listener: () => void) => {
        followed++
        const timer = ends ? setTimeout(listener, 50) : undefined
        return () => {
          followed--
          clearTimeout(timer)
        }
      }
      return { name: "agent", hostname: "127.0.0.1", port, onEnd }
    },
  }
  const connect = (patienceMs: number, signal = new AbortController().signal) =>
    connectAgent({ source, place, stealTls: async () => undefined, identity: undefined, patienceMs, signal })
  return { asked, connect, followed: () => followed }
}

test("an agent that ends while it is dialled is followed by the next, long before patience ends", async () => {
  const { asked, connect, followed } = agents({ port: gone.port, ends: true }, { port: listener.port, ends: false })
  const start = performance.now()
  const link = await connect(20_000)
  expect(performance.now() - start).toBeLessThan(5_000)
  expect([asked, followed()]).toEqual([[gone.port, listener.port], 0])
  link.abort()
})

test("one that lives and does not answer is not replaced", async () => {
  const { asked, connect, followed } = agents({ port: gone.port, ends: false }, { port: listener.port, ends: false })
  await expect(connect(100)).rejects.toMatchObject({
    code: "agent-not-started",
    message: expect.stringContaining("does not answer"),
  })
  expect([asked, followed()]).toEqual([[gone.port], 0])
})

test("agents that all end are not asked for without end", async () => {
  const { asked, connect } = agents({ port: gone.port, ends: true })
  await expect(connect(20_000)).rejects.toMatchObject({
    code: "agent-not-started",
    message: expect.stringContaining("3 agents ended"),
  })
  expect(asked).toHaveLength(3)
})

test("whoever leaves is not waited for", async () => {
  const { asked, connect, followed } = agents({ port: gone.port, ends: true })
  const leaving = new AbortController()
  setTimeout(() => leaving.abort(new Error("the client left")), 20)
  await expect(connect(20_000, leaving.signal)).rejects.toThrow("the client left")
  expect([asked.length, followed()]).toEqual([1, 0])
})
