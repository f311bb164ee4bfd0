import { isIP } from "node:net"

/** Lines of /etc/hosts: address, then names. */
export interface HostsEntry {
  ip: string
  names: string[]
}

export function parseHosts(text: string): HostsEntry[] {
  const entries: HostsEntry[] = []
  for (const line of text.split("\n")) {
    const [ip, ...names] = line.replace(/#.*/, "").trim().split(/\s+/)
    if (ip && isIP(ip) && names.length > 0) entries.push({ ip, names })
  }
  return entries
}

/** Addresses of a name; upper and lower case mean the same. */
export function lookUpHosts(entries: readonly HostsEntry[], name: string): string[] {
  const wanted = name.toLowerCase().replace(/\.$/, "")
  return entries.filter(({ names }) => names.some((each) => each.toLowerCase() === wanted)).map(({ ip }) => ip)
}
