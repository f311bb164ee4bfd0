import type { Duplex } from "node:stream"
import { readUpgrade, type UpgradeRequest } from "./upgrade-request.ts"

/** How long a connection may take for its first request's head, in milliseconds, and how long that head may be. */
const headMs = 60_000
const maxHeadBytes = 1 << 20
/** Who sends a head in more pieces than this is left to the HTTP parser, which does not look at it again with every piece. */
const maxPieces = 64
/** A client waits for the upgrade before it sends anything. */
const maxEarlyBytes = 64 << 10

export interface FirstRequest {
  /** A WebSocket is wished for. `early` ends the collecting and gives what the client has sent since. */
  upgrade(request: UpgradeRequest, early: () => Buffer): void
  /** Anything else: `received` is what was read of it. */
  other(received: Buffer): void
}

/**
 * Looks at the first request of an HTTP/1.1 connection. The runtime's HTTP server keeps request and parser for as long as an
 * upgraded socket lives; one that is never given to it costs a third less.
 */
export function readFirstRequest(socket: Duplex, { upgrade, other }: FirstRequest): void {
  const pieces: Buffer[] = []
  const tooLate = setTimeout(() => socket.destroy(), headMs)
  const stop = () => {
    clearTimeout(tooLate)
    socket.off("data", look)
    socket.off("close", stop)
  }
  const look = (piece: Buffer) => {
    pieces.push(piece)
    const received = Buffer.concat(pieces)
    const end = received.indexOf("\r\n\r\n")
    if (end < 0 && pieces.length < maxPieces && received.length < maxHeadBytes) return
    stop()
    const request = end < 0 ? undefined : readUpgrade(received.subarray(0, end))
    if (request) upgrade(request, collect(socket, received.subarray(end + 4)))
    else other(received)
  }
  socket.on("data", look)
  socket.once("close", stop)
}

/** A socket that is not read would not tell that its peer has gone. */
function collect(socket: Duplex, first: Buffer): () => Buffer {
  const early: Buffer[] = []
  let bytes = 0
  const keep = (chunk: Buffer) => {
    early.push(chunk)
    bytes += chunk.length
    if (bytes > maxEarlyBytes) socket.destroy()
  }
  keep(first)
  socket.on("data", keep)
  return () => {
    socket.off("data", keep)
    socket.pause()
    return Buffer.concat(early)
  }
}
