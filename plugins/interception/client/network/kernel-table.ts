import { NETLINK_SOCK_DIAG, NetlinkSocket } from "../../netlink.ts"

/**
 * What the kernel says of this machine's sockets, to be asked again and again. Where it cannot be asked there are its tables in /proc, which
 * cost more, and may leave out a socket that is there while others come and go.
 */
export class KernelTable<T> {
  readonly #ask: (socket: NetlinkSocket) => T
  readonly #readTables: () => T
  readonly #open: () => NetlinkSocket
  #socket: NetlinkSocket | undefined
  #isUnavailable = false

  constructor(
    ask: (socket: NetlinkSocket) => T,
    readTables: () => T,
    open = () => new NetlinkSocket(NETLINK_SOCK_DIAG),
  ) {
    this.#ask = ask
    this.#readTables = readTables
    this.#open = open
  }

  read(): T {
    if (this.#isUnavailable) return this.#readTables()
    try {
      this.#socket ??= this.#open()
      return this.#ask(this.#socket)
    } catch {
      this.#isUnavailable = true
      this.close()
      return this.#readTables()
    }
  }

  /** The next question opens it again. */
  close(): void {
    this.#socket?.close()
    this.#socket = undefined
  }
}
