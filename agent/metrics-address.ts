import { isIPv4, isIPv6 } from "node:net"

/** "ip:port" or "[ip]:port"; undefined for anything else, names included. */
export function readMetricsAddress(text: string): { hostname: string; port: number } | undefined {
  const [, ipv6, ipv4 = "", digits] = /^(?:\[([^\]]+)\]|([^:]+)):(\d{1,5})$/.exec(text) ?? []
  const isAddress = ipv6 === undefined ? isIPv4(ipv4) : isIPv6(ipv6)
  const port = Number(digits)
  return isAddress && port <= 65535 ? { hostname: ipv6 ?? ipv4, port } : undefined
}
