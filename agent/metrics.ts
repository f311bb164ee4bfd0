/** Names and meanings of the numbers the agent shows; gauges count what is in progress. */
const gauges = {
  mirrord_agent_client_count: "Connected clients",
  mirrord_agent_dns_request_count: "DNS requests running",
  mirrord_agent_open_fd_count: "Open remote file descriptors",
  mirrord_agent_mirror_port_subscription_count: "Port subscriptions of mirroring clients",
  mirrord_agent_mirror_connection_subscription_count:
    "Connections of which clients are being sent copies, counted for each client",
  mirrord_agent_steal_filtered_port_subscription_count: "Steal subscriptions with an HTTP filter",
  mirrord_agent_steal_unfiltered_port_subscription_count: "Steal subscriptions of whole ports",
  mirrord_agent_redirected_connections_count:
    "Redirected connections in progress; those that are copied by the kernel are not redirected",
  mirrord_agent_redirected_requests_count: "Redirected HTTP requests in progress",
  mirrord_agent_tcp_outgoing_connection_count: "Outgoing TCP and unix stream connections",
  mirrord_agent_udp_outgoing_connection_count: "Outgoing UDP sockets",
} as const

export type GaugeName = keyof typeof gauges

/** Requests that passed the agent on their way to the application, by port. */
const bypassed = "mirrord_agent_bypassed_requests"

export class AgentMetrics {
  readonly #values = new Map<GaugeName, number>()
  readonly #bypassed = new Map<number, number>()

  /** `by` may be negative. */
  add(name: GaugeName, by: number): void {
    this.#values.set(name, (this.#values.get(name) ?? 0) + by)
  }

  addBypassed(port: number, by: number): void {
    this.#bypassed.set(port, (this.#bypassed.get(port) ?? 0) + by)
  }

  value(name: GaugeName): number {
    return this.#values.get(name) ?? 0
  }

  /** Prometheus text exposition format 0.0.4. */
  text(): string {
    const lines: string[] = []
    for (const [name, help] of Object.entries(gauges)) {
      lines.push(`# HELP ${name} ${help}`, `# TYPE ${name} gauge`, `${name} ${this.value(name as GaugeName)}`)
    }
    lines.push(`# HELP ${bypassed} HTTP requests passed through in progress`, `# TYPE ${bypassed} gauge`)
    for (const [port, count] of this.#bypassed) lines.push(`${bypassed}{port="${port}"} ${count}`)
    return `${lines.join("\n")}\n`
  }
}
