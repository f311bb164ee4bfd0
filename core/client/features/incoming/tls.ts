import type { TLSOptions } from "bun"
import type { TrafficTransport } from "../../../protocol/index.ts"
import type { TlsDelivery } from "./options.ts"

/** TLS towards the program for traffic whose TLS the agent ended; undefined: plain. */
export function deliveryTls(transport: TrafficTransport, delivery: TlsDelivery): TLSOptions | undefined {
  if (transport.kind === "Tcp" || delivery.protocol === "tcp") return undefined
  const { alpnProtocol, serverName } = transport.value
  return {
    serverName: delivery.serverName ?? serverName ?? "localhost",
    // The program's own certificate is for the cluster's names, made by whoever; only a configured one is insisted on.
    rejectUnauthorized: delivery.trusted !== undefined,
    ...(delivery.trusted !== undefined ? { ca: delivery.trusted } : {}),
    ...(alpnProtocol ? { ALPNProtocols: new TextDecoder().decode(alpnProtocol) } : {}),
  }
}
