import type { ListenAddress } from "../../../config/operator.ts"

/** Serves the series in plain HTTP on a port of their own, reachable for scrapers and apart from the API. */
export function serveMetrics(address: ListenAddress, render: () => string): { port: number; stop(): void } {
  const server = Bun.serve({
    hostname: address.host,
    port: address.port,
    fetch: (request) =>
      new URL(request.url).pathname === "/metrics"
        ? new Response(render(), { headers: { "content-type": "text/plain; version=0.0.4; charset=utf-8" } })
        : new Response("not found\n", { status: 404 }),
  })
  return { port: server.port!, stop: () => void server.stop(true) }
}
