import { readdirSync, readlinkSync } from "node:fs"
import type { Endpoint } from "../../../../core/interceptor.ts"
import { filteredDescendants } from "../kernel/orphans.ts"
import { isLoopback, isUnspecified } from "../kernel/socket-info.ts"
import { udpSockets } from "./udp-sockets.ts"

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
  const there = udpSockets.read().filter((socket) => socket.port === port)
  return new Set(there.map(({ inode }) => `socket:[${inode}]`))
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
