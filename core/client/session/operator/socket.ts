import type { KubeWebSocket } from "../../../kube/websocket.ts"
import type { WebSocketLike } from "../../../link/index.ts"

/** The largest message either side may send. */
const maxMessageBytes = 64 << 20

/** Gives a WebSocket of `core/kube` the shape links are made of: whole messages, standard event handlers. */
export function asWebSocketLike(socket: KubeWebSocket): WebSocketLike {
  let pieces: Uint8Array[] = []
  let bytes = 0
  const like: WebSocketLike = {
    binaryType: "arraybuffer",
    readyState: 1,
    get bufferedAmount() {
      return socket.queuedBytes
    },
    send: (data) => void socket.send([data]),
    sendParts: (parts) => void socket.send(parts),
    close: (code) => socket.close(code),
    terminate: () => socket.abort(),
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
