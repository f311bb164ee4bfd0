import { errno } from "../../../../core/linux/errno.ts"
import { AF_INET, AF_INET6 } from "../../../../core/linux/socket-address.ts"
import { syscall } from "../../../../core/linux/syscall.ts"
import { errnoOf } from "../kernel/call.ts"
import { socketInode } from "../kernel/file-identity.ts"
import type { Notification } from "../kernel/notification.ts"
import { addressFor, receiveInBuffer, writeAddress } from "../kernel/socket-info.ts"
import { tryFetchDescriptor, writeMemory } from "../kernel/tracee.ts"
import type { ResolverPlace } from "./quick-resolver.ts"
import type { SharedState } from "./shared-state.ts"

const MSG_DONTWAIT = 0x40

/**
 * recvfrom(2) of answers of the name server, on the watching thread: the C library wants to know who sent each. Returns a function that
 * gives the call's result, a negative errno included, or undefined for what the main thread has to see to: other sockets, and answers
 * that are still to come. While there are ways to other UDP peers only that one knows who is behind a datagram.
 */
export function resolverAnswers(place: ResolverPlace | undefined, shared: SharedState) {
  if (!place) return () => undefined
  const known = (family: number) => ({ at: addressFor(family, place.at), server: addressFor(family, place.server) })
  const families = [known(AF_INET), known(AF_INET6)]
  const isServer = (peer: Uint8Array | undefined) => peer && families.some(({ server }) => server.equals(peer))
  return (call: Notification): number | undefined => {
    if ((call.int(3) & ~MSG_DONTWAIT) !== 0 || shared.udpAssociations) return undefined
    const fd = tryFetchDescriptor(call.tid, call.int(0))
    if (fd < 0) return undefined
    try {
      const inode = socketInode(fd)
      if (inode === undefined || !isServer(shared.names.get(inode, "peer"))) return undefined
      const got = receiveInBuffer(fd, call.size(2), MSG_DONTWAIT)
      if (typeof got === "number") return got === -errno.EAGAIN ? undefined : got
      const { bytes, source } = got
      writeMemory(call.tid, call.word(1), bytes)
      // Something else may have waited there since before the socket was connected.
      const server = families.find(({ at }) => at.equals(source))?.server
      writeAddress(call.tid, call.word(4), call.word(5), server ?? source)
      return bytes.length
    } catch (thrown) {
      return -(errnoOf(thrown) ?? errno.EIO)
    } finally {
      syscall("close", fd)
    }
  }
}
