import type { Endpoint } from "../../../core/interceptor.ts"
import { SOCK_DGRAM } from "../../../core/linux/socket.ts"
import { AF_INET6, decodeEndpoint } from "../../../core/linux/socket-address.ts"
import { syscall } from "../../../core/linux/syscall.ts"
import { socketInode } from "./file-identity.ts"
import type { Notification } from "./notification.ts"
import type { SharedState } from "./shared-state.ts"
import {
  addressFor,
  connectSocket,
  endpointName,
  isOnlyV6,
  sameEndpoint,
  socketFamily,
  socketType,
} from "./socket-info.ts"
import { fetchDescriptor, peek } from "./tracee.ts"

/** What the program calls the name server, and where its queries are taken. */
export interface ResolverPlace {
  server: Endpoint
  at: Endpoint
}

/** struct sockaddr_in6. */
const addressBytes = 28

/**
 * connect(2) of UDP sockets to the name server, on the watching thread: a resolver makes a new one for each lookup. Returns a
 * function that tells the call's result, 0 or a negative errno; undefined for calls the main thread has to see to.
 */
export function resolverConnects(place: ResolverPlace | undefined, shared: SharedState) {
  const address = Buffer.from(new ArrayBuffer(addressBytes))
  return (call: Notification): number | undefined => {
    if (!place) return undefined
    const length = peek(call.tid, call.word(1), address, Math.min(Math.max(call.int(2), 0), addressBytes))
    const peer = length < 0 ? undefined : decodeEndpoint(address.subarray(0, length))
    if (!sameEndpoint(peer, place.server)) return undefined
    let fd = -1
    try {
      fd = fetchDescriptor(call.tid, call.int(0))
      const family = socketFamily(fd)
      if (socketType(fd) !== SOCK_DGRAM || isOnlyV6(fd, family)) return undefined
      if (address.readUInt16LE(0) === AF_INET6 && family !== AF_INET6) return undefined
      const result = connectSocket(fd, addressFor(family, place.at))
      const own = result === 0 ? endpointName("getsockname", fd) : undefined
      if (!own) return result
      shared.resolverPorts.add(own.port)
      const inode = socketInode(`/proc/self/fd/${fd}`)
      if (inode !== undefined) shared.names.set(inode, family, { peer: place.server, own })
      shared.namedSockets = true
      return 0
    } catch {
      return undefined
    } finally {
      if (fd >= 0) syscall("close", fd)
    }
  }
}
