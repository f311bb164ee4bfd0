import { errno, isLinuxError } from "../../../../core/linux/errno.ts"
import { encodeEndpoint } from "../../../../core/linux/socket-address.ts"
import { syscall } from "../../../../core/linux/syscall.ts"
import { NotHeld } from "../kernel/held-descriptors.ts"
import { endpointName, type Loopback, sameEndpoint } from "../kernel/socket-info.ts"
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
 * of its next call, an error for poll). Only an ICMP message from its peer does that, so its peer, a socket of ours, is open for nobody but
 * itself while an empty datagram is sent to it in the program's name. What the program sends in that moment is refused as well; its socket
 * is not touched, for a thread of it may be about to use it.
 * Ours hears only this socket of the program afterwards. Returns its name; undefined when it is gone or connected elsewhere by now.
 */
export function refuseDatagrams(program: ConnectedSocket, ours: { fd: number; ip: Loopback; port: number }) {
  try {
    return withDescriptor(program.tid, program.fd, (copy) => {
      const name = endpointName("getsockname", copy)
      if (!name || !sameEndpoint(endpointName("getpeername", copy), ours)) return undefined
      hearOnly(ours.fd, ours)
      // One that waits to be told stands in the way of the next.
      if (sendNothing(copy) === -errno.ECONNREFUSED) sendNothing(copy)
      waitForError(copy)
      hearOnly(ours.fd, name)
      return name
    })
  } catch (thrown) {
    if (!isLinuxError(thrown) && !(thrown instanceof NotHeld)) throw thrown
    return undefined
  }
}

/** Only datagrams from there reach the socket. To be undone only by naming another: the kernel would take its port. */
export function hearOnly(fd: number, from: { ip: string; port: number }): void {
  const address = encodeEndpoint(from)
  syscall("connect", fd, address, address.length)
}

function sendNothing(fd: number): number {
  return syscall("sendto", fd, Buffer.alloc(1), 0, MSG_DONTWAIT | MSG_NOSIGNAL, null, 0)
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
