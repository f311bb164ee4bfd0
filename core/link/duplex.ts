import type { Duplex } from "node:stream"
import type { Link } from "../link.ts"
import type { LinkLimits, Side } from "./side.ts"
import { StreamLink } from "./stream-link.ts"

/** A link over a node stream: a `node:net` or `node:tls` socket, or one direction pair of a Kubernetes port-forward. */
export function duplexLink<In, Out>(
  duplex: Duplex,
  side: Side<In, Out>,
  limits: Partial<LinkLimits> = {},
): Link<In, Out> {
  // A node stream takes everything and keeps what it cannot send, so a "false" must stop us by itself.
  let full = false
  const link = new StreamLink(
    {
      write(chunk) {
        if (full) return 0
        full = !duplex.write(chunk)
        return chunk.length
      },
      pause: () => void duplex.pause(),
      resume: () => void duplex.resume(),
      end: () => void duplex.end(),
      destroy: () => void duplex.destroy(),
    },
    side,
    limits,
  )
  duplex.pause()
  duplex.on("data", (chunk: Uint8Array) => link.received(chunk))
  duplex.pause()
  duplex.on("drain", () => {
    full = false
    link.drained()
  })
  duplex.on("end", () => link.peerEnded())
  duplex.on("error", (error) => link.failed(error))
  duplex.on("close", () => link.failed())
  return link
}
