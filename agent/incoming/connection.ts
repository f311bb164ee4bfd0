import type { DivertedConnection, Route, TcpEvents } from "../../core/interceptor.ts"
import type { TrafficTransport } from "../../core/protocol/index.ts"

/** Between whom a connection is whose bytes can be read, and how: as they came, or with the TLS the agent has ended taken off. */
export interface ReadableRoute extends Route {
  readonly transport: TrafficTransport
}

export interface IncomingConnection extends DivertedConnection, ReadableRoute {}

export const plainTransport: TrafficTransport = { kind: "Tcp" }

/** What serves a connection. */
export interface Service extends TcpEvents {
  /** The agent is about to end: what has begun comes to its end, nothing new is begun. */
  finish?(): void
}
