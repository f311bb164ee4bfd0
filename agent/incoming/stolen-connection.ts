import type { TcpEvents } from "../../core/interceptor.ts"
import type { ChannelStream, ClientChannel } from "./client-channel.ts"
import type { IncomingConnection } from "./connection.ts"
import { Outlet } from "./outlet.ts"

/** A whole connection that one client answers: bytes both ways. */
export class StolenConnection implements TcpEvents, ChannelStream {
  readonly #channel: ClientChannel
  readonly #connection: IncomingConnection
  readonly #outlet: Outlet
  readonly #id: bigint
  #paused = false
  #callerEnded = false
  #over = false

  constructor(channel: ClientChannel, connection: IncomingConnection) {
    this.#channel = channel
    this.#connection = connection
    this.#outlet = new Outlet(connection.socket, channel.budget)
    this.#id = channel.open(this)
    channel.sendNewConnection(this.#id, connection)
  }

  onData(bytes: Buffer): void {
    if (this.#over || this.#channel.sendData(this.#id, bytes) || this.#paused) return
    this.#paused = true
    this.#connection.socket.pause()
    void this.#channel.client.whenWritable().then(() => {
      this.#paused = false
      if (!this.#over) this.#connection.socket.resume()
    })
  }

  onDrain(): void {
    this.#outlet.onDrain()
  }

  onEnd(): void {
    if (this.#over || this.#callerEnded) return
    this.#callerEnded = true
    this.#channel.sendEnd(this.#id)
  }

  onClose(error?: Error): void {
    this.#outlet.closed()
    // A caller that ends after the client did so with this event; the client hears of both ends, as of any other's.
    if (!error) this.onEnd()
    if (this.#over) return
    this.#over = true
    if (error)
      this.#channel.client.tell("Warn", `a stolen connection to port ${this.#connection.destination.port} failed`)
    this.#channel.sendClose(this.#id)
  }

  onClientData(bytes: Uint8Array): void {
    if (bytes.length === 0) this.#outlet.end()
    else this.#outlet.write(bytes)
  }

  onClientResponse(): void {}

  /** What the client sent before still goes out; if the caller goes on sending, the kernel answers with a reset. */
  onClientGone(): void {
    this.#over = true
    this.#channel.forget(this.#id)
    this.#outlet.finish()
    this.#connection.socket.resume()
  }
}
