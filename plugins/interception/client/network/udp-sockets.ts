import { readFileSync } from "node:fs"
import type { NetlinkSocket } from "../../netlink.ts"
import { type UdpSocket, udpSocketsIn } from "../../sock-diag.ts"
import { KernelTable } from "./kernel-table.ts"

/** Of /proc/net/udp: number, own address and port, the peer's, state, what waits to be sent and to be read, timer, retransmits, user, timeout, inode. */
const line = /^\s*\d+: [0-9A-F]+:([0-9A-F]{4}) \S+ \S+ [0-9A-F]+:([0-9A-F]+) (?:\S+\s+){4}(\d+)/gm

/** The UDP sockets of this machine that have a port. */
export class UdpSockets extends KernelTable<UdpSocket[]> {
  constructor(open?: () => NetlinkSocket) {
    super(udpSocketsIn, socketsInTables, open)
  }
}

/** For all who want to know; nothing tells a process when a socket of another one is gone. */
export const udpSockets = new UdpSockets()

function socketsInTables(): UdpSocket[] {
  return ["/proc/net/udp", "/proc/net/udp6"].flatMap((path) =>
    [...textOf(path).matchAll(line)].map(([, port, unread, inode]) => ({
      port: Number.parseInt(port!, 16),
      unreadBytes: Number.parseInt(unread!, 16),
      inode: Number(inode),
    })),
  )
}

/** Empty without IPv6. */
function textOf(path: string): string {
  try {
    return readFileSync(path, "latin1")
  } catch {
    return ""
  }
}
