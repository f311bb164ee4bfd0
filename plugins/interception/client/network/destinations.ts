import type { RemoteConnection, World } from "../../../../core/client/engine.ts"
import type { Endpoint } from "../../../../core/interceptor.ts"
import { sameEndpoint } from "../kernel/socket-info.ts"
import { dnsDatagrams, dnsStream } from "./dns-connection.ts"

/** Decides where traffic for an endpoint goes: undefined means that the machine's own network takes it. */
export function remoteDestination(
  world: World,
  kind: "tcp" | "udp",
  endpoint: Endpoint,
): (() => Promise<RemoteConnection>) | undefined {
  const { dns, outgoing } = world
  if (dns && sameEndpoint(endpoint, dns.server)) {
    return async () => (kind === "udp" ? dnsDatagrams(dns) : dnsStream(dns))
  }
  const peer = { kind, endpoint }
  if (outgoing?.place(peer) !== "remote") return undefined
  return () => outgoing.connect(peer)
}
