import type { TcpSocket } from "../../../core/interceptor.ts"

/** Reasons not to read from a socket. It is read while there is none. */
export class Pauses<Reason extends string> {
  readonly #socket: Pick<TcpSocket, "pause" | "resume">
  readonly #reasons = new Set<Reason>()

  constructor(socket: Pick<TcpSocket, "pause" | "resume">) {
    this.#socket = socket
  }

  set(reason: Reason, on: boolean): void {
    const before = this.#reasons.size
    if (on) this.#reasons.add(reason)
    else this.#reasons.delete(reason)
    const after = this.#reasons.size
    if (before === 0 && after > 0) this.#socket.pause()
    else if (before > 0 && after === 0) this.#socket.resume()
  }
}
