import type { Tap } from "../../core/interceptor.ts"
import type { ChannelStream, ClientChannel } from "./client-channel.ts"
import type { ReadableRoute } from "./connection.ts"

/** What may wait for a mirroring client that reads slowly, per connection. Then it loses the copy: the target never waits. */
const maxWaitingBytes = 4 << 20
/** What a piece that waits costs besides its bytes. */
const pieceOverheadBytes = 128

/** A copy of what a caller sends on one connection, for one client. */
export class MirroredConnection implements Tap, ChannelStream {
  readonly #channel: ClientChannel
  readonly #id: bigint
  #waiting: Uint8Array[] | undefined
  #waitingBytes = 0
  over = false
  #ended = false

  constructor(channel: ClientChannel, connection: ReadableRoute) {
    this.#channel = channel
    this.#id = channel.open(this)
    channel.sendNewConnection(this.#id, connection)
  }

  onData(bytes: Uint8Array): void {
    if (this.over) return
    if (!this.#waiting) {
      if (!this.#channel.sendData(this.#id, bytes)) this.#wait()
      return
    }
    this.#waiting.push(bytes)
    this.#waitingBytes += bytes.length + pieceOverheadBytes
    if (this.#waitingBytes > maxWaitingBytes) this.onLost("the client reads too slowly")
  }

  onLost(reason: string): void {
    if (this.over) return
    this.#channel.client.tell("Warn", `a mirrored connection was dropped: ${reason}`)
    this.#finish()
  }

  onEnd(): void {
    if (this.over || this.#ended) return
    this.#ended = true
    if (!this.#waiting) this.#channel.sendEnd(this.#id)
  }

  onClose(): void {
    this.onEnd()
    if (!this.#waiting) this.#finish()
    else this.#closing = true
  }

  onClientData(): void {}
  onClientResponse(): void {}

  onClientGone(): void {
    this.over = true
    this.#waiting = undefined
    this.#channel.forget(this.#id)
  }

  #closing = false

  #wait(): void {
    this.#waiting = []
    this.#waitingBytes = 0
    void this.#channel.client.whenWritable().then(() => {
      const waited = this.#waiting ?? []
      this.#waiting = undefined
      for (const bytes of waited) this.onData(bytes)
      if (this.#waiting || this.over) return
      if (this.#ended) this.#channel.sendEnd(this.#id)
      if (this.#closing) this.#finish()
    })
  }

  #finish(): void {
    if (this.over) return
    this.over = true
    this.#waiting = undefined
    this.#channel.sendClose(this.#id)
  }
}
