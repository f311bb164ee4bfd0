import type { Route } from "../../../core/interceptor.ts"
import { errno, isLinuxError } from "../../../core/linux/errno.ts"
import type { CallerRules, Stamp } from "./rule-set.ts"
import { closeSocket, connectStamped, isTracked } from "./tcp-sockets.ts"

/** Starts a connection to the application and gives its descriptor; it may still be connecting. @throws LinuxError when it fails at once */
export type ApplicationDialer = (route: Route) => number

type Family = "ipv4" | "ipv6"

/**
 * Under the caller's address and port where rules map it, or under its address and another port where connection tracking still
 * knows that port from an earlier connection and so drops the first packet. Under the pod's own address where neither can be, and where
 * none of these has ever stood and this one does not at once.
 */
export function applicationDialer(ownMark: number, callers: CallerRules | undefined): ApplicationDialer {
  /** Whether connections under callers' addresses stand; families nobody tried are missing. */
  const works = new Map<Family, boolean>()

  function dialAs(stamp: Stamp, route: Route, family: Family): number | undefined {
    const { fd, stands } = connectStamped(route, stamp)
    const mapped = isTracked(fd, family === "ipv6")
    // Where connection tracking is off no rule maps anything; that is not tried on the application again and again.
    if (stands && !works.has(family)) works.set(family, mapped)
    if (mapped && works.get(family)) return fd
    closeSocket(fd)
    return undefined
  }

  return (route) => {
    const family = route.destination.ip.includes(":") ? "ipv6" : "ipv4"
    for (const stamp of stampsFor(callers, route)) {
      if (works.get(family) === false) break
      try {
        const fd = dialAs(stamp, route, family)
        if (fd !== undefined) return fd
      } catch (thrown) {
        if (works.get(family) && isLinuxError(thrown, errno.ECONNREFUSED)) throw thrown
      }
    }
    return connectStamped(route, { mark: ownMark }).fd
  }
}

/** From one of the loopback's addresses nobody can answer another. */
function stampsFor(callers: CallerRules | undefined, { source, destination }: Route): Stamp[] {
  if (!callers || /^(127\.|::1$)/.test(destination.ip)) return []
  try {
    return callers.stampsFor(source)
  } catch {
    // The kernel took no further address.
    return []
  }
}
