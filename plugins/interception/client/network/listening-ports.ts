import { closeSync, openSync, readSync } from "node:fs"
import type { NetlinkSocket } from "../../netlink.ts"
import { listeningPorts } from "../../sock-diag.ts"
import { KernelTable } from "./kernel-table.ts"

const listenState = "0A"

/** The ports of this machine with a TCP listener. Whoever reads them in the kernel's tables has it look through all its memory for connections. */
export class ListeningPorts extends KernelTable<Set<number>> {
  constructor(open?: () => NetlinkSocket) {
    super(listeningPorts, portsInTables, open)
  }
}

/** The kernel lists listeners before all other sockets, so only the beginning is read. */
function portsInTables(): Set<number> {
  const ports = new Set<number>()
  for (const path of ["/proc/net/tcp", "/proc/net/tcp6"]) {
    for (const line of linesOf(path)) {
      const match = /^\s*\d+: [0-9A-F]+:([0-9A-F]{4}) [0-9A-F]+:[0-9A-F]{4} ([0-9A-F]{2})/.exec(line)
      if (!match) continue
      if (match[2] !== listenState) break
      ports.add(Number.parseInt(match[1]!, 16))
    }
  }
  return ports
}

function* linesOf(path: string): Generator<string> {
  let fd: number
  try {
    fd = openSync(path, "r")
  } catch {
    return
  }
  try {
    const piece = Buffer.alloc(16_384)
    let rest = ""
    for (;;) {
      const count = readSync(fd, piece)
      if (count === 0) break
      const lines = (rest + piece.toString("latin1", 0, count)).split("\n")
      rest = lines.pop()!
      yield* lines
    }
  } finally {
    closeSync(fd)
  }
}
