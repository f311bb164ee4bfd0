import { closeSync, openSync, readSync } from "node:fs"
import { NETLINK_SOCK_DIAG, NetlinkSocket } from "../../netlink.ts"
import { listeningPorts } from "../../sock-diag.ts"

const listenState = "0A"

/**
 * The ports of this machine with a TCP listener, to be asked again and again. Where the kernel has only its tables for that, they cost
 * milliseconds each: whoever reads the listeners in them has it look through all its memory for connections.
 */
export class ListeningPorts {
  readonly #open: () => NetlinkSocket
  #socket: NetlinkSocket | undefined
  #isUnavailable = false

  constructor(open = () => new NetlinkSocket(NETLINK_SOCK_DIAG)) {
    this.#open = open
  }

  read(): Set<number> {
    if (this.#isUnavailable) return portsInTables()
    try {
      this.#socket ??= this.#open()
      return listeningPorts(this.#socket)
    } catch {
      this.#isUnavailable = true
      this.close()
      return portsInTables()
    }
  }

  close(): void {
    this.#socket?.close()
    this.#socket = undefined
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
