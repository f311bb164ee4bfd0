import type { PortForward } from "../../../kube/forward.ts"
import { askingSide, StreamLink } from "../../../link/index.ts"
import type { Link } from "../../../link.ts"
import type { ClientMessage, DaemonMessage } from "../../../protocol/index.ts"

/** What is written together goes out as one message, up to this size in bytes. */
const groupBytes = 128 << 10

/** A link over a Kubernetes port-forward. It has no half close, so its end is the end of both directions. */
export function forwardedLink(forward: PortForward): Link<DaemonMessage, ClientMessage> {
  let attached = false
  // The head of a protocol message and its payload come as two chunks; every message on the way costs each hop the same.
  let group: Uint8Array[] = []
  let grouped = 0
  const sendGroup = () => {
    if (grouped === 0) return
    const parts = group
    group = []
    grouped = 0
    forward.write(...parts)
  }
  const close = () => {
    sendGroup()
    forward.close()
  }
  const link = new StreamLink(
    {
      write: (chunk) => {
        if (!forward.writable) return 0
        if (grouped === 0) queueMicrotask(sendGroup)
        group.push(chunk)
        grouped += chunk.byteLength
        if (grouped >= groupBytes) sendGroup()
        return chunk.byteLength
      },
      pause: () => forward.pause(),
      resume: () => {
        if (attached) forward.resume()
        else {
          attached = true
          forward.attach({
            data: (bytes) => link.received(bytes),
            drain: () => link.drained(),
            closed: (error) => (error ? link.failed(error) : link.failed()),
          })
        }
      },
      end: close,
      destroy: close,
    },
    askingSide,
  )
  return link
}
