import { expect, test } from "bun:test"
import { AgentMetrics } from "./metrics.ts"
import { readMetricsAddress } from "./metrics-address.ts"
import { serveMetrics } from "./metrics-server.ts"

test("numbers are served as Prometheus reads them", async () => {
  const metrics = new AgentMetrics()
  metrics.add("mirrord_agent_client_count", 3)
  metrics.add("mirrord_agent_client_count", -1)
  metrics.addBypassed(8080, 5)
  const server = serveMetrics("127.0.0.1:0", metrics)
  const get = (path: string, method = "GET") => fetch(`http://127.0.0.1:${server.port}${path}`, { method })
  const lines = (await (await get("/metrics")).text()).split("\n")
  expect(lines).toContain("mirrord_agent_client_count 2")
  expect(lines).toContain("mirrord_agent_open_fd_count 0")
  expect(lines).toContain('mirrord_agent_bypassed_requests{port="8080"} 5')
  expect((await get("/")).status).toBe(404)
  expect((await get("/metrics", "POST")).status).toBe(405)
  server.stop()
})

test.each([
  ["0.0.0.0:9000", { hostname: "0.0.0.0", port: 9000 }],
  ["[::]:0", { hostname: "::", port: 0 }],
  ["9000", undefined],
  ["::1:9000", undefined],
  ["[127.0.0.1]:9000", undefined],
  ["localhost:9000", undefined],
  ["127.0.0.1:65536", undefined],
])("an address to serve them at: %s", (text, address) => {
  expect(readMetricsAddress(text)).toEqual(address)
})

test("an address somebody else has is refused", () => {
  const taken = serveMetrics("127.0.0.1:0", new AgentMetrics())
  const address = `127.0.0.1:${taken.port}`
  expect(() => serveMetrics(address, new AgentMetrics())).toThrow(`Cannot serve metrics at ${address}`)
  taken.stop()
})
