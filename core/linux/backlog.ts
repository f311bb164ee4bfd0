import { syscall } from "./syscall.ts"

/**
 * Lets `connections` wait to be accepted by a listener of the runtime, whose own number (512) cannot be chosen. The kernel cuts it to
 * net.core.somaxconn.
 */
export function raiseBacklog(listener: object, connections: number): void {
  const { fd } = listener as { fd?: number }
  if (fd !== undefined && fd >= 0) syscall("listen", fd, connections)
}
