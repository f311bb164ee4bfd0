import { errno } from "../../../../core/linux/errno.ts"
import { SOCK_STREAM } from "../../../../core/linux/socket.ts"
import { type Answer, type Call, failure, type Handlers, proceed } from "../kernel/call.ts"
import { socketType } from "../kernel/socket-info.ts"
import { withDescriptor } from "../kernel/tracee.ts"

/**
 * SO_BINDTODEVICE, the one option of setsockopt(2) that is asked about. A socket bound to an interface never reaches ours on the
 * loopback: its connect would wait for ever, and its listener get nothing. EPERM is what kernels before 5.7 say to
 * unprivileged programs, so that they bind to the interface's address instead (curl --interface), or say so.
 */
export function interfaceCalls(): Handlers {
  function setOption(call: Call): Answer {
    const type = withDescriptor(call.tid, call.int(0), socketType)
    return type === SOCK_STREAM ? failure(errno.EPERM) : proceed
  }

  return { setsockopt: setOption }
}
