import { SOCK_STREAM } from "../../../core/linux/socket.ts"
import type { Notification } from "./notification.ts"
import type { SharedNames } from "./shared-names.ts"
import { endpointName, socketFamily, socketType, writeAddress } from "./socket-info.ts"
import { fitting } from "./socket-name-calls.ts"
import { withDescriptor, writeMemory } from "./tracee.ts"

/**
 * Answers getsockname and getpeername of established TCP connections on the watching thread: Go asks both after each
 * connect. Tells whether the answer is in the program's memory; the main thread sees to everything else.
 */
export function answersName(call: Notification, which: "getsockname" | "getpeername", names: SharedNames): boolean {
  try {
    return withDescriptor(call.tid, call.int(0), (fd) => {
      const peer = endpointName("getpeername", fd)
      const own = peer && endpointName("getsockname", fd)
      const name = peer && own && names.get(own.port, peer.port)
      if (!name || socketType(fd) !== SOCK_STREAM) return false
      const address = fitting(socketFamily(fd), which === "getpeername" ? name.peer : name.own)
      writeAddress(call.tid, call.word(1), call.word(2), address)
      return true
    })
  } catch {
    return false
  }
}

/** Answers uname, with what the main thread said the first time. */
export function answersMachine(call: Notification, machine: Uint8Array | undefined): boolean {
  if (!machine) return false
  try {
    writeMemory(call.tid, call.word(0), machine)
    return true
  } catch {
    return false
  }
}
