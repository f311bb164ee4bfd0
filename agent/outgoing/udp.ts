import type { udp } from "bun"
import { errno, LinuxError } from "../../core/linux/errno.ts"
import { type Endpoint, familyOf } from "../../core/linux/socket-address.ts"
import type { Surroundings } from "../target/target.ts"
import type { OutgoingSocket, SocketEvents } from "./socket.ts"

/** A UDP socket with one peer. A write is a datagram; what arrives while it is paused is dropped, as UDP may. */
export class UdpSocket implements OutgoingSocket {
  readonly local: Endpoint
  readonly #socket: udp.ConnectedSocket<"uint8array">
  #events: SocketEvents | undefined
  #paused = true

  private constructor(socket: udp.ConnectedSocket<"uint8array">) {
    this.#socket = socket
    this.local = { ip: socket.address.address, port: socket.address.port }
  }

  /** @throws LinuxError */
  static async connect(remote: Endpoint, surroundings: Surroundings): Promise<UdpSocket> {
    const anyAddress = familyOf(remote.ip) === 2 ? "0.0.0.0" : "::"
    let made: UdpSocket | undefined
    try {
      const socket = await surroundings.inNamespace(() =>
        Bun.udpSocket({
          hostname: anyAddress,
          port: 0,
          connect: { hostname: remote.ip, port: remote.port },
          binaryType: "uint8array",
          socket: {
            data: (_, datagram) => made?.receive(datagram),
            drain: () => made?.drained(),
            error: () => made?.refused(),
          },
        }),
      )
      made = new UdpSocket(socket)
      return made
    } catch (thrown) {
      const number = errno[(thrown as { code?: string }).code as keyof typeof errno]
      throw number === undefined ? thrown : new LinuxError(number, "connect")
    }
  }

  start(events: SocketEvents): void {
    this.#events = events
    this.#paused = false
  }

  write(datagram: Uint8Array): number {
    try {
      return this.#socket.send(datagram) ? datagram.length : 0
    } catch (thrown) {
      // Refused, unreachable or too long: lost, like any datagram. What is refused here is what an earlier one came to.
      if ((thrown as { code?: string }).code === "ECONNREFUSED") this.refused()
      return datagram.length
    }
  }

  endWriting(): void {}

  pause(): void {
    this.#paused = true
  }

  resume(): void {
    this.#paused = false
  }

  close(): void {
    this.#socket.close()
  }

  reset(): void {
    this.#socket.close()
  }

  /** An empty datagram would mean the end in the protocol, so it is dropped. */
  receive(datagram: Uint8Array): void {
    if (!this.#paused && datagram.length > 0) this.#events?.data(datagram)
  }

  refused(): void {
    this.#events?.refused?.()
  }

  drained(): void {
    this.#events?.drain()
  }
}
