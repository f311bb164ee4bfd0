import { AppError, errorText } from "../core/errors.ts"
import type { AgentMetrics } from "./metrics.ts"
import { readMetricsAddress } from "./metrics-address.ts"

/** Serves `GET /metrics` at "ip:port" or "[ip]:port". @throws AppError "metrics-unavailable" */
export function serveMetrics(address: string, metrics: AgentMetrics): { port: number; stop(): void } {
  try {
    const at = readMetricsAddress(address)
    if (!at) throw new Error("not an address with a port")
    const server = Bun.serve({
      ...at,
      fetch(request) {
        if (new URL(request.url).pathname !== "/metrics") return new Response("not found\n", { status: 404 })
        if (request.method !== "GET") return new Response("use GET\n", { status: 405 })
        return new Response(metrics.text(), { headers: { "content-type": "text/plain; version=0.0.4" } })
      },
    })
    return { port: server.port ?? 0, stop: () => void server.stop(true) }
  } catch (cause) {
    throw new AppError("metrics-unavailable", `Cannot serve metrics at ${address}: ${errorText(cause)}`, {
      cause,
      next: "Give a free address as ip:port.",
    })
  }
}
