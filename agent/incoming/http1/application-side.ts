import type { TcpEvents, TcpSocket } from "../../../core/interceptor.ts"
import { deaf } from "../deaf.ts"
import { Outlet } from "../outlet.ts"
import type { End } from "../pass-through.ts"

/** The connection to the application that stands beside a caller's; made when it is needed. */
export class ApplicationSide {
  readonly #connect: (events: TcpEvents) => TcpSocket
  readonly #events: TcpEvents
  #socket: TcpSocket | undefined
  #outlet: Outlet | undefined

  /** `events` hear of the connection there is; one that was dropped says no more. */
  constructor(connect: (events: TcpEvents) => TcpSocket, events: TcpEvents) {
    this.#connect = connect
    this.#events = events
  }

  get isOpen(): boolean {
    return this.#socket !== undefined
  }

  /** False: nobody answers. */
  open(): boolean {
    if (this.#outlet) return true
    try {
      this.#socket = this.#connect(this.#events)
      this.#outlet = new Outlet(this.#socket)
      return true
    } catch {
      return false
    }
  }

  /** Of an open connection. False: something waits until `onDrain` returns true. */
  write(bytes: Uint8Array): boolean {
    return this.#outlet?.write(bytes) ?? true
  }

  onDrain(): boolean {
    return this.#outlet?.onDrain() ?? false
  }

  pause(): void {
    this.#socket?.pause()
  }

  resume(): void {
    this.#socket?.resume()
  }

  end(): void {
    this.#outlet?.end()
  }

  reset(): void {
    this.#outlet?.reset()
  }

  /** The application has closed it; false: it was dropped before. */
  closed(): boolean {
    this.#outlet?.closed()
    const wasOpen = this.#socket !== undefined
    this.#socket = undefined
    this.#outlet = undefined
    return wasOpen
  }

  drop(): void {
    const outlet = this.#outlet
    const socket = this.#socket
    // Its end must not be taken for that of one made later.
    if (socket) socket.data = deaf
    this.#socket = undefined
    this.#outlet = undefined
    outlet?.reset()
  }

  /** Somebody else goes on with the connection there is. */
  handOver(): End {
    const handed = { socket: this.#socket!, outlet: this.#outlet! }
    this.#socket = undefined
    this.#outlet = undefined
    return handed
  }
}
