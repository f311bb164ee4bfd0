import type { KubeWebSocket } from "../../../kube/websocket.ts"
import { fullWriteBytes, type WebSocketLike } from "../../../link/index.ts"

/** The largest message either side may send. */
const maxMessageBytes = 64 << 20

/**
 * Gives a WebSocket of `core/kube` the shape links are made of: whole messages, standard event handlers. Short messages of one turn of
 * the event loop leave in one write: an API server passes on each TLS record by itself, and each is a wakeup for everybody behind it.
 */
export function asWebSocketLike(socket: KubeWebSocket): WebSocketLike {
  let pieces: Uint8Array[] = []
  let bytes = 0
  /** Messages of this turn, each in its parts. */
  let unsent: (readonly Uint8Array[])[] = []
  let unsentBytes = 0
  const flush = () => {
    const messages = unsent
    unsent = []
    unsentBytes = 0
    if (messages.length > 0) socket.sendAll(messages)
  }
  const sendParts = (parts: readonly Uint8Array[]) => {
    if (unsent.length === 0) setImmediate(flush)
    unsent.push(parts)
    for (const part of parts) unsentBytes += part.byteLength
    if (unsentBytes >= fullWriteBytes) flush()
  }
  const like: WebSocketLike = {
    binaryType: "arraybuffer",
    readyState: 1,
    get bufferedAmount() {
      return socket.queuedBytes + unsentBytes
    },
    send: (data) => sendParts([data]),
    sendParts,
    close(code) {
      flush()
      socket.close(code)
    },
    terminate() {
      flush()
      socket.abort()
    },
    pause: () => socket.pause(),
    resume: () => socket.resume(),
    ondrain: null,
    onmessage: null,
    onclose: null,
    onerror: null,
  }
  socket.attach({
    data(piece, _first, last) {
      pieces.push(piece)
      bytes += piece.byteLength
      if (bytes > maxMessageBytes) {
        like.onerror?.({ message: `a message of more than ${maxMessageBytes} bytes` } as never)
        socket.abort()
        return
      }
      if (!last) return
      // Most messages come in one piece, which need not be copied.
      const whole = pieces.length === 1 ? piece : Buffer.concat(pieces, bytes)
      pieces = []
      bytes = 0
      like.onmessage?.({ data: whole } as never)
    },
    drain: () => like.ondrain?.(),
    closed({ code, reason, error }) {
      if (error) like.onerror?.({ message: error.message } as never)
      else like.onclose?.({ code: code ?? 1005, reason: reason ?? "" } as never)
    },
  })
  return like
}
