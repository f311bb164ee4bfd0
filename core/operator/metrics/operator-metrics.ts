import { formatTarget } from "../../target.ts"
import { licenseEnd } from "../license.ts"
import type { SessionFacts } from "../session/live-session.ts"
import { Metrics } from "./metrics.ts"

/** The operator's series. Names are those of the mirrord operator, so that dashboards go on working. */
export function operatorMetrics(sessions: () => number, agents: () => number) {
  const metrics = new Metrics()
  const minutes = [60, 300, 900, 3600, 14_400, 86_400]
  const milliseconds = [0.5, 1, 2, 5, 10, 25, 50, 100, 250, 1000]
  const created = metrics.counter("mirrord_sessions_create_total", "Sessions opened.")
  const duration = metrics.histogram("mirrord_sessions_duration", "Life of sessions in seconds.", minutes)
  const ciCreated = metrics.counter("mirrord_ci_sessions_create_total", "Sessions opened by CI jobs.")
  const ciDuration = metrics.histogram("mirrord_ci_sessions_duration", "Life of CI sessions in seconds.", minutes)
  const latency = metrics.histogram(
    "mirrord_operator_ping_latency",
    "Round trip to clients in milliseconds.",
    milliseconds,
  )
  const connections = metrics.counter("mirrord_stolen_connections_count", "Stolen TCP connections.")
  const requests = metrics.counter("mirrord_stolen_requests_count", "Stolen HTTP requests.")
  const denied = metrics.counter("podside_denied_total", "Sessions and requests refused, by the rule that did.")
  metrics.gauge("mirrord_license_valid_seconds", "Until the licence ends, which podside's does not.", () =>
    Math.floor((Date.parse(licenseEnd) - Date.now()) / 1000),
  )
  metrics.gauge("podside_sessions", "Sessions now.", sessions)
  metrics.gauge("podside_agents", "Agents with a pod of their own now.", agents)
  metrics.gauge("podside_resident_memory_bytes", "Resident memory.", () => process.memoryUsage.rss())

  const who = ({ info, userId }: SessionFacts) => ({
    client_hostname: info.client.hostname ?? "",
    client_name: info.client.user ?? "",
    client_user: info.identity.user,
    user_id: userId,
  })
  return {
    render: () => metrics.render(),
    opened: (session: SessionFacts) => (session.ci ? ciCreated : created).add(who(session)),
    closed: (session: SessionFacts) =>
      (session.ci ? ciDuration : duration).observe((Date.now() - session.info.openedAt.getTime()) / 1000, who(session)),
    pinged: (session: SessionFacts, ms: number) => latency.observe(ms, who(session)),
    stolen: ({ info, userId }: SessionFacts, port: number, what: "connection" | "request") =>
      (what === "connection" ? connections : requests).add({
        port: String(port),
        namespace: info.namespace,
        target: formatTarget(info.target),
        user_id: userId,
      }),
    denied: (rule: string) => denied.add({ rule }),
  }
}

export type OperatorMetrics = ReturnType<typeof operatorMetrics>
