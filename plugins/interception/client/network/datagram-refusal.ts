import { check, isLinuxError } from "../../../../core/linux/errno.ts"
import { openSocket, SOCK_DGRAM } from "../../../../core/linux/socket.ts"
import { AF_INET, AF_INET6, encodeEndpoint } from "../../../../core/linux/socket-address.ts"
import { syscall } from "../../../../core/linux/syscall.ts"
import { NotHeld } from "../kernel/held-descriptors.ts"
import {
  addressFor,
  connectSocket,
  endpointName,
  type Loopback,
  sameEndpoint,
  socketFamily,
} from "../kernel/socket-info.ts"
import { withDescriptor } from "../kernel/tracee.ts"

const MSG_DONTWAIT = 0x40
const MSG_NOSIGNAL = 0x4000
/** An error without data is always told. */
const POLLERR = 0
const refusalLimitNs = 20_000_000n

/** A connected socket of the program, as the thread that connected it knew it. */
export interface ConnectedSocket {
  tid: number
  fd: number
}

/**
 * Lets a connected datagram socket of the program learn what the kernel would tell it natively: nobody takes its datagrams (ECONNREFUSED
 * of its next call, an error for poll). Only an ICMP message from its peer does that, so it is connected for a moment to a port that
 * refuses: one of ours that is connected to itself and thus open for nobody else.
 */
export class DatagramRefusal {
  readonly #sockets = new Map<Loopback, number>()

  /** `at`: where the socket is connected. One that is gone or connected elsewhere by now hears nothing. */
  tell({ tid, fd }: ConnectedSocket, at: { ip: Loopback; port: number }): void {
    try {
      withDescriptor(tid, fd, (copy) => {
        if (!sameEndpoint(endpointName("getpeername", copy), at)) return
        const family = socketFamily(copy)
        if (connectSocket(copy, addressFor(family, { ip: at.ip, port: this.#port(at.ip) })) < 0) return
        syscall("sendto", copy, Buffer.alloc(1), 0, MSG_DONTWAIT | MSG_NOSIGNAL, null, 0)
        waitForError(copy)
        connectSocket(copy, addressFor(family, at))
      })
    } catch (thrown) {
      if (!isLinuxError(thrown) && !(thrown instanceof NotHeld)) throw thrown
    }
  }

  close(): void {
    for (const fd of this.#sockets.values()) syscall("close", fd)
    this.#sockets.clear()
  }

  /** @throws LinuxError */
  #port(ip: Loopback): number {
    let fd = this.#sockets.get(ip)
    if (fd === undefined) {
      fd = openSocket(ip === "::1" ? AF_INET6 : AF_INET, SOCK_DGRAM)
      this.#sockets.set(ip, fd)
      const anyPort = encodeEndpoint({ ip, port: 0 })
      check(syscall("bind", fd, anyPort, anyPort.length), "bind")
      const own = encodeEndpoint(endpointName("getsockname", fd)!)
      check(syscall("connect", fd, own, own.length), "connect a socket to itself")
    }
    return endpointName("getsockname", fd)!.port
  }
}

/** On the loopback it is there when the datagram is sent, but for a processor with much else to do; a program that waits may take it first. */
function waitForError(fd: number): void {
  const poll = Buffer.alloc(8)
  poll.writeInt32LE(fd, 0)
  poll.writeInt16LE(POLLERR, 4)
  const limit = Buffer.alloc(16)
  limit.writeBigInt64LE(refusalLimitNs, 8)
  syscall("ppoll", poll, 1, limit, null, 0)
}
