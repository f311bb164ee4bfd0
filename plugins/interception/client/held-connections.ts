import type { Endpoint } from "../../../core/interceptor.ts"
import { check } from "../../../core/linux/errno.ts"
import { openSocket, SOCK_STREAM, setSocketOption } from "../../../core/linux/socket.ts"
import { AF_INET, AF_INET6, encodeEndpoint } from "../../../core/linux/socket-address.ts"
import { addressOf, syscall } from "../../../core/linux/syscall.ts"
import { SOL_SOCKET } from "./rules.ts"
import { connectSocket, endpointName, inProgress } from "./socket-info.ts"

const SO_REUSEPORT = 15
const SO_ATTACH_FILTER = 26
/** struct sock_filter { code BPF_RET | BPF_K, 0, 0, k 0 }: keep nothing of any packet. */
const dropAll = Buffer.from([6, 0, 0, 0, 0, 0, 0, 0])

/**
 * Keeps non-blocking connects of the program pending until the remote side has answered, as they would be over a network.
 *
 * The program's socket connects to a listener of ours whose socket filter drops the SYN: it stays in SYN_SENT, not writable.
 * To let it be connected, a second socket of ours on the same port connects to it: both ends have sent a SYN then, which TCP
 * calls a simultaneous open, and both are established. To let it fail, see `disconnect`.
 */
export class HeldConnections {
  readonly #ip: "127.0.0.1" | "::1"
  readonly #listener: number
  readonly port: number

  /** @throws LinuxError, e.g. where there is no IPv6 */
  constructor(ip: "127.0.0.1" | "::1") {
    this.#ip = ip
    this.#listener = this.#socket(0)
    const filter = Buffer.alloc(16)
    filter.writeUInt16LE(1, 0)
    filter.writeBigUInt64LE(addressOf(dropAll), 8)
    check(
      syscall("setsockopt", this.#listener, SOL_SOCKET, SO_ATTACH_FILTER, filter, filter.length),
      "SO_ATTACH_FILTER",
    )
    check(syscall("listen", this.#listener, 1), "listen")
    this.port = endpointName("getsockname", this.#listener)!.port
  }

  /** Lets the program's socket begin to connect; `address` is ours in the family of the socket. A negative errno is a failure. */
  hold(fd: number, address: Uint8Array): number {
    const result = connectSocket(fd, address)
    return result === inProgress ? 0 : result
  }

  /** Our end of the connection to the held socket with this name, not connected yet. @throws LinuxError */
  complete(held: Endpoint): number {
    const fd = this.#socket(this.port)
    const result = connectSocket(fd, encodeEndpoint(held))
    if (result < 0 && result !== inProgress) {
      syscall("close", fd)
      check(result, "connect to the program's socket")
    }
    return fd
  }

  close(): void {
    syscall("close", this.#listener)
  }

  #socket(port: number): number {
    const fd = openSocket(this.#ip === "::1" ? AF_INET6 : AF_INET, SOCK_STREAM)
    setSocketOption(fd, SOL_SOCKET, SO_REUSEPORT, 1)
    const address = encodeEndpoint({ ip: this.#ip, port })
    check(syscall("bind", fd, address, address.length), "bind")
    return fd
  }
}

/** Ends a pending connect: the socket reports an error (ECONNRESET for the kernel; see the SO_ERROR handler for the true one). */
export function disconnect(fd: number): void {
  syscall("connect", fd, Buffer.alloc(16), 16)
}
