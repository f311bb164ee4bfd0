import { connectedFlows } from "../sock-diag.ts"
import { translatedCallers } from "./conntrack.ts"

/**
 * The connections with one of `ports` on this side, as their callers' packets name them, in the calling thread's network namespace. Where a
 * rule behind those that copy (SNAT of what comes in) gave one another caller, connection tracking knows; it is asked only when one of
 * `flows` is not found without. @throws LinuxError
 */
export function connectedCallers(ports: readonly number[], flows: readonly string[]): ReadonlySet<string> {
  const connected = connectedFlows(ports)
  if (flows.every((flow) => connected.has(flow))) return connected
  for (const [seen, sent] of translatedCallers()) if (connected.has(seen)) connected.add(sent)
  return connected
}
