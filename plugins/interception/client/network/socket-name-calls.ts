import { SOCK_DGRAM } from "../../../../core/linux/socket.ts"
import { AF_INET, AF_INET6, AF_UNIX } from "../../../../core/linux/socket-address.ts"
import { syscall } from "../../../../core/linux/syscall.ts"
import { type Answer, type Call, type Handlers, proceed, success } from "../kernel/call.ts"
import { NotHeld } from "../kernel/held-descriptors.ts"
import { endpointName, fitting, rawName, socketFamily, socketType, writeAddress } from "../kernel/socket-info.ts"
import { fetchDescriptor } from "../kernel/tracee.ts"
import type { NetworkSupervision } from "../supervision.ts"
import { connectedSocket } from "./socket-table.ts"

/** getpeername and getsockname: the names the program's sockets have in the pod. */
export function socketNameCalls({ tcp, udp, unix, listeners }: NetworkSupervision): Handlers {
  async function name(call: Call): Promise<Answer> {
    let fd: number
    try {
      fd = fetchDescriptor(call.tid, call.int(0))
    } catch (thrown) {
      if (thrown instanceof NotHeld) return connectedName(call)
      throw thrown
    }
    try {
      const family = socketFamily(fd)
      if (family === AF_UNIX && call.name === "getpeername") return unixName(call, unix.pathOf(rawName(call.name, fd)))
      if (family !== AF_INET && family !== AF_INET6) return proceed
      const own = endpointName("getsockname", fd)
      const peer = endpointName("getpeername", fd)
      const names =
        socketType(fd) === SOCK_DGRAM
          ? udp.behind(peer)
          : (tcp.named(own, peer) ?? (await listeners.named(fd, own, peer)))
      const wanted = call.name === "getpeername" ? names?.peer : names?.own
      return wanted ? answer(call, fitting(family, wanted)) : proceed
    } finally {
      syscall("close", fd)
    }
  }

  /** For a connected stream the engine has let go of, or never had: the kernel's table tells its names. */
  async function connectedName(call: Call): Promise<Answer> {
    const path = unix.pathBehind(call.tid, call.int(0))
    if (path) return unixName(call, path)
    const socket = connectedSocket(call.tid, call.int(0))
    if (!socket) return proceed
    const { family, own, peer } = socket
    const names = tcp.named(own, peer) ?? (await listeners.accepted(own, peer))
    const wanted = call.name === "getpeername" ? names?.peer : names?.own
    return wanted ? answer(call, fitting(family, wanted)) : proceed
  }

  function unixName(call: Call, path: Uint8Array | undefined): Answer {
    if (!path || call.name === "getsockname") return proceed
    return answer(call, Buffer.concat([Uint8Array.of(AF_UNIX, 0), path, new Uint8Array(1)]))
  }

  function answer(call: Call, address: Uint8Array): Answer {
    writeAddress(call.tid, call.word(1), call.word(2), address)
    return success
  }

  return { getpeername: name, getsockname: name }
}
