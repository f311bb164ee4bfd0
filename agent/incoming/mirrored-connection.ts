import type { ChannelStream, ClientChannel } from "./client-channel.ts"
import type { IncomingConnection } from "./connection.ts"
import type { Tap } from "./tap.ts"

/** What may wait for a mirroring client that reads slowly, per connection. Then it loses the copy: the target never waits. */
const maxWaitingBytes = 4 << 20

/** A copy of what a caller sends on one connection, for one client. */
export class MirroredConnection implements Tap, ChannelStream {
  readonly #channel: ClientChannel
  readonly #id: bigint
  #waiting: Uint8Array[] | undefined
  #waitingBytes = 0
  #over = false
  #ended = false

  constructor(channel: ClientChannel, connection: IncomingConnection) {
    this.#channel = channel
    this.#id = channel.open(this)
    channel.sendNewConnection(this.#id, connection)
  }

  onData(bytes: Uint8Array): void {
    if (this.#over) return
    if (!this.#waiting) {
      if (!this.#channel.sendData(this.#id, bytes)) this.#wait()
      return
    }
    this.#waiting.push(bytes)
    this.#waitingBytes += bytes.length
    if (this.#waitingBytes <= maxWaitingBytes) return
    this.#channel.client.tell("Warn", "a mirrored connection was dropped: the client reads too slowly")
    this.#finish()
  }

  onEnd(): void {
    if (this.#over || this.#ended) return
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
    this.#over = true
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
      if (this.#waiting || this.#over) return
      if (this.#ended) this.#channel.sendEnd(this.#id)
      if (this.#closing) this.#finish()
    })
  }

  #finish(): void {
    if (this.#over) return
    this.#over = true
    this.#waiting = undefined
    this.#channel.sendClose(this.#id)
  }
}
