import type { Endpoint } from "../../../../core/interceptor.ts"
import { check, errno, LinuxError } from "../../../../core/linux/errno.ts"
import { POLLIN, poll } from "../../../../core/linux/poll.ts"
import { openSocket, SOCK_STREAM, setSocketOption } from "../../../../core/linux/socket.ts"
import { AF_INET, AF_INET6, encodeEndpoint } from "../../../../core/linux/socket-address.ts"
import { syscall } from "../../../../core/linux/syscall.ts"
import { SOL_SOCKET } from "../kernel/rules.ts"
import { connectSocket, endpointName, inProgress } from "../kernel/socket-info.ts"

const SO_REUSEPORT = 15
/** For a handshake within this machine's memory, in seconds. */
const fillLimitSeconds = 5

/**
 * Keeps non-blocking connects of the program pending until the remote side has answered, as they would be over a network.
 *
 * The program's socket connects to a listener of ours whose queue is full, so that the kernel drops the SYN: it stays in
 * SYN_SENT, not writable. (A socket filter could drop it, too, but not every kernel lets ordinary users attach one.)
 * To let it be connected, a second socket of ours on the same port connects to it: both ends have sent a SYN then, which TCP
 * calls a simultaneous open, and both are established. To let it fail, see `disconnect`.
 */
export class HeldConnections {
  readonly #ip: "127.0.0.1" | "::1"
  readonly #listener: number
  /** The connection that fills the listener's queue: never accepted. */
  readonly #filling: number
  readonly port: number

  /** @throws LinuxError, e.g. where there is no IPv6 */
  constructor(ip: "127.0.0.1" | "::1") {
    this.#ip = ip
    this.#listener = this.#socket(0)
    // A queue of length 0 has room for one connection.
    check(syscall("listen", this.#listener, 0), "listen")
    this.port = endpointName("getsockname", this.#listener)!.port
    this.#filling = openSocket(ip === "::1" ? AF_INET6 : AF_INET, SOCK_STREAM)
    const result = connectSocket(this.#filling, encodeEndpoint({ ip, port: this.port }))
    if (result !== inProgress) check(result, "connect to the holding listener")
    waitUntilFull(this.#listener)
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
    syscall("close", this.#filling)
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

/** A listener is readable once a connection waits in its queue. @throws LinuxError */
function waitUntilFull(listener: number): void {
  const ready = check(poll(listener, POLLIN, fillLimitSeconds), "ppoll")
  if (ready === 0) throw new LinuxError(-errno.ETIMEDOUT, "wait for the holding listener")
}

/** Ends a pending connect: the socket reports an error (ECONNRESET for the kernel; see the SO_ERROR handler for the true one). */
export function disconnect(fd: number): void {
  syscall("connect", fd, Buffer.alloc(16), 16)
}
