import type { Endpoint } from "../../../../core/interceptor.ts"
import { NETLINK_SOCK_DIAG, NetlinkSocket } from "../../netlink.ts"
import { inodeOfSocket } from "../../sock-diag.ts"

let socket: NetlinkSocket | undefined

/**
 * Whether the TCP socket of this machine with these two ends belongs to no process any more. False also when the kernel does not
 * tell: then nobody may conclude anything.
 */
export function isSocketGone(own: Endpoint, peer: Endpoint): boolean {
  try {
    socket ??= new NetlinkSocket(NETLINK_SOCK_DIAG)
    return !inodeOfSocket(socket, own, peer)
  } catch {
    return false
  }
}
