import type { PortForward } from "../../../kube/port-forward.ts"
import { askingSide, StreamLink } from "../../../link/index.ts"
import type { Link } from "../../../link.ts"
import type { ClientMessage, DaemonMessage } from "../../../protocol/index.ts"

/** A link over a Kubernetes port-forward. It has no half close, so its end is the end of both directions. */
export function forwardedLink(forward: PortForward): Link<DaemonMessage, ClientMessage> {
  let attached = false
  const link = new StreamLink(
    {
      write: (chunk) => {
        if (!forward.writable) return 0
        forward.write(chunk)
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
      end: () => forward.close(),
      destroy: () => forward.close(),
    },
    askingSide,
  )
  return link
}
