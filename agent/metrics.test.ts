import { expect, test } from "bun:test"
import { silentLogger } from "../core/log.ts"
import { AgentMetrics } from "./metrics.ts"
import { serveMetrics } from "./metrics-server.ts"
import { readSettings } from "./settings.ts"

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

test("an address that is none is refused", () => {
  expect(() => serveMetrics("9000", new AgentMetrics())).toThrow("Cannot serve metrics at 9000")
})

test("settings keep their defaults for what is absent or cannot be read", () => {
  const settings = readSettings({ MIRRORD_AGENT_IDLE_TTL: "soon", PODSIDE_AGENT_RULES: "ipfw" }, silentLogger)
  expect(settings).toMatchObject({ idleSeconds: 0, rules: undefined, flushConntrack: true, overrideCacheControl: true })
  const given = readSettings(
    { MIRRORD_AGENT_IDLE_TTL: "7", PODSIDE_AGENT_RULES: "iptables-nft", RUST_LOG: "info,mirrord=trace" },
    silentLogger,
  )
  expect(given).toMatchObject({ idleSeconds: 7, rules: "iptables-nft", logLevel: "debug" })
})
