import type { RawSocket } from "../../../kube/dial.ts"

/** Payload of a TLS record, in bytes: what the API server passes on in one piece. */
const recordBytes = 16 << 10
/** Chunks up to this size wait for the one behind them, in bytes: the head of a message, or several small messages. */
const smallBytes = 1 << 10

/** Lets the head of a message travel with its payload: alone it would cost every hop a packet, a record and a wake-up. */
export class RecordWriter {
  readonly #socket: Pick<RawSocket, "write">
  #head: Uint8Array | undefined

  constructor(socket: Pick<RawSocket, "write">) {
    this.#socket = socket
  }

  write(chunk: Uint8Array): void {
    const head = this.#head
    if (!head) {
      if (chunk.byteLength > smallBytes) this.#socket.write(chunk)
      else this.#hold(chunk)
      return
    }
    this.#head = undefined
    const room = recordBytes - head.byteLength
    this.#socket.write(Buffer.concat([head, chunk.subarray(0, room)]))
    if (chunk.byteLength > room) this.#socket.write(chunk.subarray(room))
  }

  /** Nothing follows in this turn. */
  flush(): void {
    if (this.#head) this.#socket.write(this.#head)
    this.#head = undefined
  }

  #hold(chunk: Uint8Array): void {
    this.#head = chunk
    queueMicrotask(() => this.flush())
  }
}
