import { ip } from "../addresses.ts"
import type { Infer } from "../codec.ts"
import { list, set, struct, variants } from "../composites.ts"
import { bool, bytes, i32, none, str, u16 } from "../primitives.ts"
import { result } from "./errors.ts"

const logLevel = variants("LogLevel", { Warn: none, Error: none, Info: none })
export const logMessage = struct({ message: str, level: logLevel })
export type LogMessage = Infer<typeof logMessage>

/** Wildcard patterns; an empty selection means everything. */
export const getEnvVarsRequest = struct({ envVarsFilter: set(str), envVarsSelect: set(str) })
export type GetEnvVarsRequest = Infer<typeof getEnvVarsRequest>

export const shareLinkRequest = variants("ShareLinkRequest", { RegisterKey: str, RemoveKey: str })
export type ShareLinkRequest = Infer<typeof shareLinkRequest>

/** Not used any more; decoded so that it can be refused in good order. */
export const daemonPauseTarget = variants("DaemonPauseTarget", {
  PauseResponse: struct({ changed: bool, containerPaused: bool }),
})

// ---- names

const addressFamily = variants("AddressFamily", {
  Ipv4Only: none,
  Ipv6Only: none,
  Both: none,
  Any: none,
  UnknownAddressFamilyFromNewerClient: none,
})
export type AddressFamily = Infer<typeof addressFamily>

const sockType = variants("SockType", { Stream: none, Dgram: none, Any: none, UnknownSockTypeFromNewerClient: none })

export const getAddrInfoRequest = struct({ node: str })
export const getAddrInfoRequestV2 = struct({
  node: str,
  servicePort: u16,
  family: addressFamily,
  socktype: sockType,
  flags: i32,
  protocol: i32,
})
export type GetAddrInfoRequestV2 = Infer<typeof getAddrInfoRequestV2>

const lookupRecord = struct({ name: str, ip })
export type LookupRecord = Infer<typeof lookupRecord>
export const getAddrInfoResponse = result(list(lookupRecord))
export type GetAddrInfoResponse = Infer<typeof getAddrInfoResponse>

export const reverseDnsLookupRequest = struct({ ipAddress: ip })
export const reverseDnsLookupResponse = result(struct({ hostname: result(str) }))
export type ReverseDnsLookupResponse = Infer<typeof reverseDnsLookupResponse>

// ---- vpn: decoded so that it can be refused in good order

export const clientVpn = variants("ClientVpn", { GetNetworkConfiguration: none, OpenSocket: none, Packet: bytes })
export const serverVpn = variants("ServerVpn", {
  NetworkConfiguration: struct({ ip, netMask: ip, gateway: ip }),
  Packet: bytes,
})
