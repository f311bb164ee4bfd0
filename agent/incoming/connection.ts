import type { DivertedConnection } from "../../core/interceptor.ts"
import type { TrafficTransport } from "../../core/protocol/index.ts"

/** A diverted connection whose bytes can be read: as they came, or with the TLS the agent has ended taken off. */
export interface IncomingConnection extends DivertedConnection {
  readonly transport: TrafficTransport
}

export const plainTransport: TrafficTransport = { kind: "Tcp" }
