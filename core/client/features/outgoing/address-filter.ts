import type { AddressFilter } from "../../../../config/address-filter.ts"
import { parseIp } from "../../../protocol/index.ts"

/** Which way goes what one of the entries matches; everything else goes the other way. */
export interface DirectionFilter {
  matching: "remote" | "local"
  entries: readonly AddressFilter[]
}

/** @param isAddressOf whether an address belongs to a name now */
export function entryMatches(
  entry: AddressFilter,
  protocol: "tcp" | "udp",
  peer: { ip: string; port: number },
  isAddressOf: (name: string, ip: string) => boolean,
): boolean {
  if (entry.protocol !== "any" && entry.protocol !== protocol) return false
  if (entry.port !== 0 && entry.port !== peer.port) return false
  const { address } = entry
  if (address.kind === "any") return true
  return address.kind === "name" ? isAddressOf(address.name, peer.ip) : inSubnet(peer.ip, address.ip, address.prefix)
}

export function inSubnet(ip: string, network: string, prefix: number): boolean {
  const [a, b] = [parseIp(ip), parseIp(network)]
  if (a.byteLength !== b.byteLength) return false
  for (let bit = 0; bit < prefix; bit += 8) {
    const mask = prefix - bit >= 8 ? 0xff : (0xff << (8 - (prefix - bit))) & 0xff
    if (((a[bit / 8]! ^ b[bit / 8]!) & mask) !== 0) return false
  }
  return true
}
