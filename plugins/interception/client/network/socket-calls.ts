import type { World } from "../../../../core/client/engine.ts"
import { errno } from "../../../../core/linux/errno.ts"
import { SOCK_DGRAM, SOCK_SEQPACKET, SOCK_STREAM } from "../../../../core/linux/socket.ts"
import { AF_INET, AF_INET6, AF_UNIX } from "../../../../core/linux/socket-address.ts"
import { syscall } from "../../../../core/linux/syscall.ts"
import { type Answer, type Call, failure, type Handler, type Handlers, proceed } from "../kernel/call.ts"
import { heldDescriptors, NotHeld } from "../kernel/held-descriptors.ts"
import { O_CLOEXEC } from "../kernel/notification.ts"
import { socketType } from "../kernel/socket-info.ts"
import { withDescriptor } from "../kernel/tracee.ts"

const typeBits = 0xf

/** On machines with IPv6, for a world without. */
export function refuseIpv6(handlers: Handlers): Handlers {
  const { socket } = handlers
  return {
    ...handlers,
    socket: (call) => (call.int(0) === AF_INET6 ? failure(errno.EAFNOSUPPORT) : (socket?.(call) ?? proceed)),
  }
}

/**
 * What changes where descriptors cannot be fetched: the engine makes the program's sockets, so that it has them already
 * when the program does something with them.
 */
export function socketCalls({ outgoing }: World, handlers: Handlers): Handlers {
  const connect = handlers.connect
  return { ...handlers, socket: makeSocket(outgoing !== undefined), ...(connect && { connect: lettingGo(connect) }) }
}

function makeSocket(withUnix: boolean): Handler {
  return (call) => {
    const [family, type] = [call.int(0), call.int(1)]
    const kind = type & typeBits
    const isIp = (family === AF_INET || family === AF_INET6) && (kind === SOCK_STREAM || kind === SOCK_DGRAM)
    const isUnix = withUnix && family === AF_UNIX && (kind === SOCK_STREAM || kind === SOCK_SEQPACKET)
    if (!isIp && !isUnix) return proceed
    const fd = syscall("socket", family, type | O_CLOEXEC, call.int(2))
    // Out of descriptors here: the program gets one the engine knows nothing of.
    if (fd === -errno.EMFILE || fd === -errno.ENFILE) return proceed
    if (fd < 0) return failure(-fd)
    return { kind: "give", fd, closeOnExec: (type & O_CLOEXEC) !== 0, hold: true }
  }
}

/** A stream that is connected belongs to the program alone, else its other end would not notice that it was closed. */
function lettingGo(connect: Handler): Handler {
  return async (call): Promise<Answer> => {
    const answer = await connect(call)
    if (answer.kind !== "errno") letGoOfStream(call)
    return answer
  }
}

function letGoOfStream(call: Call): void {
  try {
    withDescriptor(call.tid, call.int(0), (fd) => {
      if (socketType(fd) !== SOCK_DGRAM) heldDescriptors.letGo(fd)
    })
  } catch (thrown) {
    if (!(thrown instanceof NotHeld)) throw thrown
  }
}
