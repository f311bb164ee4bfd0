import type { DivertedConnection, TcpEvents } from "../../core/interceptor.ts"
import type { TrafficTransport } from "../../core/protocol/index.ts"

/** A diverted connection whose bytes can be read: as they came, or with the TLS the agent has ended taken off. */
export interface IncomingConnection extends DivertedConnection {
  readonly transport: TrafficTransport
}

export const plainTransport: TrafficTransport = { kind: "Tcp" }

/** What serves a connection. */
export interface Service extends TcpEvents {
  /** The agent is about to end: what has begun comes to its end, nothing new is begun. */
  finish?(): void
}
