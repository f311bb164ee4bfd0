import type { Tap } from "../../core/interceptor.ts"
import type { ChannelStream, ClientChannel } from "./client-channel.ts"
import type { ReadableRoute } from "./connection.ts"

/** What may wait for a mirroring client that reads slowly, per connection. Then it loses the copy: the target never waits. */
const maxWaitingBytes = 4 << 20
/** The same for all connections of one client together. */
const maxWaitingOfClientBytes = 32 << 20
/** What a connection that waits, and each of its pieces, cost besides the bytes. */
const connectionOverheadBytes = 1024
const pieceOverheadBytes = 128

/** A copy of what a caller sends on one connection, for one client. */
export class MirroredConnection implements Tap, ChannelStream {
  readonly #channel: ClientChannel
  readonly #id: bigint
  readonly #connection: ReadableRoute
  over = false
  #announced = false
  #waiting: Uint8Array[] | undefined
  #waitingBytes = 0
  #ended = false
  #closing = false

  constructor(channel: ClientChannel, connection: ReadableRoute) {
    this.#channel = channel
    this.#connection = connection
    this.#id = channel.open(this)
    channel.countCopied(1)
    if (channel.full) this.#wait()
    else this.#announce()
  }

  onData(bytes: Uint8Array): void {
    if (this.over) return
    if (!this.#waiting && !this.#channel.full) {
      this.#channel.sendData(this.#id, bytes)
      return
    }
    this.#wait()
    this.#waiting?.push(bytes)
    this.#charge(bytes.length + pieceOverheadBytes)
  }

  onEnd(): void {
    if (this.over || this.#ended) return
    this.#ended = true
    if (!this.#waiting) this.#channel.sendEnd(this.#id)
  }

  onClose(): void {
    this.onEnd()
    if (this.#waiting) this.#closing = true
    else this.#finish()
  }

  onLost(reason: string): void {
    if (this.over) return
    this.#channel.lost.add("connection", reason)
    this.#finish()
  }

  onClientData(): void {}
  onClientResponse(): void {}

  onClientGone(): void {
    if (!this.#isFirstEnd()) return
    this.#channel.forget(this.#id)
  }

  #announce(): void {
    this.#announced = true
    this.#channel.sendNewConnection(this.#id, this.#connection)
  }

  #wait(): void {
    if (this.#waiting) return
    this.#waiting = []
    this.#charge(connectionOverheadBytes)
    this.#resumeLater()
  }

  #resumeLater(): void {
    void this.#channel.client.whenWritable().then(() => this.#resume())
  }

  /** Others may have been faster to fill the queue again. */
  #resume(): void {
    if (this.over || !this.#waiting) return
    if (this.#channel.full) {
      this.#resumeLater()
      return
    }
    const waited = this.#waiting
    this.#release()
    if (!this.#announced) this.#announce()
    for (const bytes of waited) this.onData(bytes)
    if (this.#waiting || this.over) return
    if (this.#ended) this.#channel.sendEnd(this.#id)
    if (this.#closing) this.#finish()
  }

  #charge(bytes: number): void {
    this.#waitingBytes += bytes
    this.#channel.waitingCopyBytes += bytes
    const isTooMuch = this.#waitingBytes > maxWaitingBytes || this.#channel.waitingCopyBytes > maxWaitingOfClientBytes
    if (isTooMuch) this.onLost("the client reads too slowly")
  }

  #release(): void {
    this.#channel.waitingCopyBytes -= this.#waitingBytes
    this.#waitingBytes = 0
    this.#waiting = undefined
  }

  #isFirstEnd(): boolean {
    if (this.over) return false
    this.over = true
    this.#release()
    this.#channel.countCopied(-1)
    return true
  }

  #finish(): void {
    if (!this.#isFirstEnd()) return
    if (this.#announced) this.#channel.sendClose(this.#id)
    else this.#channel.forget(this.#id)
  }
}
