import { readdirSync, readFileSync, readlinkSync } from "node:fs"
import type { Endpoint } from "../../../../core/interceptor.ts"
import { filteredDescendants } from "../kernel/orphans.ts"
import { isLoopback, isUnspecified } from "../kernel/socket-info.ts"

/** Of /proc/net/udp: number, own address and port, the peer's, state, queues, timer, retransmits, user, timeout, inode. */
const udpLine = /^\s*\d+: [0-9A-F]+:([0-9A-F]{4}) (?:\S+\s+){7}(\d+)/gm

/**
 * Whether a datagram for this place is one the program sends to itself: a UDP socket of it has that port on the loopback. Costs a
 * look at all descriptors of the program, so it is for the first one on a way only.
 */
export function isForProgramItself({ ip, port }: Endpoint): boolean {
  if (!isLoopback(ip) && !isUnspecified(ip)) return false
  const sockets = socketsAt(port)
  return sockets.size > 0 && filteredDescendants().some((pid) => descriptorsOf(pid).some((link) => sockets.has(link)))
}

/** Links of the descriptors, `socket:[INODE]`, that lead to UDP sockets with this port. */
function socketsAt(port: number): Set<string> {
  const sockets = new Set<string>()
  for (const path of ["/proc/net/udp", "/proc/net/udp6"]) {
    for (const [, own, inode] of textOf(path).matchAll(udpLine)) {
      if (Number.parseInt(own!, 16) === port) sockets.add(`socket:[${inode}]`)
    }
  }
  return sockets
}

function descriptorsOf(pid: number): string[] {
  try {
    return readdirSync(`/proc/${pid}/fd`).map((fd) => linkOf(`/proc/${pid}/fd/${fd}`))
  } catch {
    return []
  }
}

function linkOf(path: string): string {
  try {
    return readlinkSync(path)
  } catch {
    return ""
  }
}

/** Empty without IPv6. */
function textOf(path: string): string {
  try {
    return readFileSync(path, "utf8")
  } catch {
    return ""
  }
}
