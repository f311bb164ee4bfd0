import { readlinkSync } from "node:fs"
import type { Endpoint } from "../../../../core/interceptor.ts"
import { findDescriptor } from "../kernel/program-descriptors.ts"
import { isLoopback, isUnspecified } from "../kernel/socket-info.ts"
import { udpSockets } from "./udp-sockets.ts"

/**
 * Whether a datagram for this place is one the program sends to itself: a UDP socket of it has that port on the loopback. Costs a
 * look at all descriptors of the program, so it is for the first one on a way only.
 */
export function isForProgramItself({ ip, port }: Endpoint): boolean {
  if (!isLoopback(ip) && !isUnspecified(ip)) return false
  const sockets = socketsAt(port)
  return sockets.size > 0 && findDescriptor((path) => sockets.has(linkOf(path))) !== undefined
}

/** Links of the descriptors, `socket:[INODE]`, that lead to UDP sockets with this port. */
function socketsAt(port: number): Set<string> {
  const there = udpSockets.read().filter((socket) => socket.port === port)
  return new Set(there.map(({ inode }) => `socket:[${inode}]`))
}

function linkOf(path: string): string {
  try {
    return readlinkSync(path)
  } catch {
    return ""
  }
}
