import { AppError } from "../errors.ts"
import type { PortForward, PortForwardHandlers } from "./forward.ts"
import type { KubeWebSocket } from "./websocket.ts"

/*
 * Kubernetes port-forward over WebSocket, subprotocol v4.channel.k8s.io, one port.
 *
 *   each message: byte 0 = channel (0 data, 1 error), then the content
 *   the first message of each channel carries the port number (u16, little endian) instead of content
 *   a message on the error channel after that is a text, and the forward is over
 */

export const forwardSubprotocol = "v4.channel.k8s.io"
const dataChannel = new Uint8Array([0])
const maxErrorBytes = 4_096

export class ChannelForward implements PortForward {
  readonly #socket: KubeWebSocket
  readonly #what: string
  #handlers: PortForwardHandlers | undefined
  #channel = -1
  /** Bytes of the port number still to skip, by channel. */
  #skip = [2, 2]
  #errorText = ""
  #over = false

  constructor(socket: KubeWebSocket, what: string) {
    this.#socket = socket
    this.#what = what
  }

  attach(handlers: PortForwardHandlers): void {
    this.#handlers = handlers
    this.#socket.attach({
      data: (piece, first, last) => this.#piece(piece, first, last),
      drain: () => handlers.drain(),
      closed: ({ error, reason }) => this.#end(error ?? new Error(reason ?? "the API server closed the forward")),
    })
  }

  write(...parts: Uint8Array[]): boolean {
    return this.#socket.send([dataChannel, ...parts])
  }

  get writable(): boolean {
    return this.#socket.writable
  }

  pause(): void {
    this.#socket.pause()
  }

  resume(): void {
    this.#socket.resume()
  }

  close(): void {
    if (this.#over) return
    this.#over = true
    this.#socket.close()
    this.#handlers?.closed()
  }

  #piece(piece: Uint8Array, first: boolean, last: boolean): void {
    let rest = piece
    if (first) {
      if (piece.byteLength === 0) return
      this.#channel = piece[0]!
      rest = piece.subarray(1)
    }
    const skipped = Math.min(this.#skip[this.#channel] ?? 0, rest.byteLength)
    if (skipped > 0) {
      this.#skip[this.#channel]! -= skipped
      rest = rest.subarray(skipped)
    }
    if (this.#channel === 0) {
      if (rest.byteLength > 0 && !this.#over) this.#handlers?.data(rest)
    } else if (this.#channel === 1) {
      if (this.#errorText.length < maxErrorBytes) this.#errorText += new TextDecoder().decode(rest)
      if (last && this.#errorText) this.#end(new Error(this.#errorText.trim()))
    }
  }

  #end(cause: Error): void {
    if (this.#over) return
    this.#over = true
    this.#socket.abort()
    this.#handlers?.closed(new AppError("forward-broken", `Cannot ${this.#what}: ${cause.message}`, { cause }))
  }
}
