import { check, errno, isLinuxError } from "../../../../core/linux/errno.ts"
import { POLLERR, POLLIN, poll } from "../../../../core/linux/poll.ts"
import { openSocket, SOCK_DGRAM } from "../../../../core/linux/socket.ts"
import { AF_INET, AF_INET6, encodeEndpoint } from "../../../../core/linux/socket-address.ts"
import { syscall } from "../../../../core/linux/syscall.ts"
import { socketInode } from "../kernel/file-identity.ts"
import { NotHeld } from "../kernel/held-descriptors.ts"
import { findDescriptor, type ProgramDescriptor } from "../kernel/program-descriptors.ts"
import { endpointName, type Loopback, sameEndpoint } from "../kernel/socket-info.ts"
import { withDescriptor } from "../kernel/tracee.ts"
import { udpSockets } from "./udp-sockets.ts"

const MSG_DONTWAIT = 0x40
const MSG_NOSIGNAL = 0x4000
/** Longer than any machine that works keeps something in its own memory. */
const loopbackSeconds = 1

/** A connected socket of the program, as the thread that connected it knew it. */
export interface ConnectedSocket extends ProgramDescriptor {
  inode: number | undefined
}

/** Who has a socket now, if anybody: the thread that connected it may have ended, or its whole process, which left it to a child. */
export function heirOf({ inode }: ConnectedSocket): ProgramDescriptor | undefined {
  const isOpen = udpSockets.read().some((socket) => socket.inode === inode)
  return isOpen ? findDescriptor((path) => socketInode(path) === inode) : undefined
}

/**
 * Lets a connected datagram socket of the program learn what the kernel would tell it natively: nobody takes its datagrams (ECONNREFUSED
 * of its next call, an error for poll). Only an ICMP message from its peer does that, so its peer, a socket of ours, is open for nobody but
 * itself while an empty datagram is sent to it in the program's name. What the program sends in that moment is refused as well; its socket
 * is not touched, for a thread of it may be about to use it.
 * Ours hears only this socket of the program afterwards. Returns its name; undefined when it is not there any more or connected elsewhere.
 */
export function refuseDatagrams(program: ProgramDescriptor, ours: { fd: number; ip: Loopback; port: number }) {
  try {
    return withDescriptor(program.tid, program.fd, (copy) => {
      const name = endpointName("getsockname", copy)
      if (!name || !sameEndpoint(endpointName("getpeername", copy), ours)) return undefined
      hearOnly(ours.fd, ours)
      // One that waits to be told stands in the way of the next.
      if (sendNothing(copy) === -errno.ECONNREFUSED) sendNothing(copy)
      if (!hasError(copy)) waitForLoopback(ours.ip)
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

const hasError = (fd: number) => poll(fd, POLLERR) > 0

/**
 * An error is there when the datagram is sent, unless a thread that waits has taken it, or the loopback is behind, as it is on a processor with
 * much else to do. What is sent there now comes behind the datagram, and what is sent after that behind the answer to it.
 */
function waitForLoopback(ip: Loopback): void {
  const fd = openSocket(ip === "::1" ? AF_INET6 : AF_INET, SOCK_DGRAM)
  try {
    const anyPort = encodeEndpoint({ ip, port: 0 })
    check(syscall("bind", fd, anyPort, anyPort.length), "bind")
    hearOnly(fd, endpointName("getsockname", fd)!)
    const byte = Buffer.alloc(1)
    for (let turn = 0; turn < 2; turn++) {
      check(syscall("sendto", fd, byte, 1, 0, null, 0), "send to itself")
      if (poll(fd, POLLIN, loopbackSeconds) <= 0) return
      syscall("recvfrom", fd, byte, 1, 0, null, null)
    }
  } finally {
    syscall("close", fd)
  }
}
