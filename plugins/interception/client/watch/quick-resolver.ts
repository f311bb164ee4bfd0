import type { Endpoint } from "../../../../core/interceptor.ts"
import { SOCK_DGRAM } from "../../../../core/linux/socket.ts"
import { AF_INET, AF_INET6, decodeEndpoint, encodeEndpoint } from "../../../../core/linux/socket-address.ts"
import { syscall } from "../../../../core/linux/syscall.ts"
import { socketInode } from "../kernel/file-identity.ts"
import type { Notification } from "../kernel/notification.ts"
import { addressFor, nameInBuffer, sameEndpoint, socketType } from "../kernel/socket-info.ts"
import { tryFetchDescriptor } from "../kernel/tracee.ts"
import type { SharedState } from "./shared-state.ts"

/** What the program calls the name server, and where its queries are taken. */
export interface ResolverPlace {
  server: Endpoint
  at: Endpoint
}

/** Family, port and address of struct sockaddr_in. */
const meaningfulBytes = 8

/**
 * connect(2) of UDP sockets to the name server, on the watching thread: a resolver makes a new one for each lookup. Returns a
 * function that takes the call with the address it names, and tells whether it was done; the main thread sees to all others.
 */
export function resolverConnects(place: ResolverPlace | undefined, shared: SharedState) {
  if (!place) return () => false
  const { server, at } = place
  const serverAddress = encodeEndpoint(server)
  const isServer = (address: Buffer) =>
    address.readUInt16LE(0) === AF_INET
      ? address.length >= serverAddress.length &&
        serverAddress.compare(address, 0, meaningfulBytes, 0, meaningfulBytes) === 0
      : sameEndpoint(decodeEndpoint(address), server)
  const known = (family: number) => ({ at: addressFor(family, at), server: addressFor(family, server) })
  const ofFamily: Partial<Record<number, ReturnType<typeof known>>> = {
    [AF_INET]: known(AF_INET),
    [AF_INET6]: known(AF_INET6),
  }
  return (call: Notification, address: Buffer): boolean => {
    if (!isServer(address)) return false
    const to = ofFamily[address.readUInt16LE(0)]
    const fd = to ? tryFetchDescriptor(call.tid, call.int(0)) : -1
    if (!to || fd < 0) return false
    try {
      // Refused when the socket is of another family, or can only talk IPv6.
      if (socketType(fd) !== SOCK_DGRAM || syscall("connect", fd, to.at, to.at.length) < 0) return false
      const own = nameInBuffer("getsockname", fd)
      const peer = typeof own === "number" ? undefined : ofFamily[own.readUInt16LE(0)]?.server
      if (typeof own === "number" || !peer) return false
      shared.resolverPorts.add(own.readUInt16BE(2))
      const inode = socketInode(fd)
      if (inode !== undefined) shared.names.setAddresses(inode, peer, own)
      shared.namedSockets = true
      return true
    } catch {
      return false
    } finally {
      syscall("close", fd)
    }
  }
}
