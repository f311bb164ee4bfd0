import type { RemoteConnection } from "../../../../core/client/engine.ts"
import type { Speaker } from "../../../../core/last-words.ts"
import { errno, LinuxError } from "../../../../core/linux/errno.ts"
import { pendingError } from "../../../../core/linux/socket.ts"
import { addressFor, connectLoopback, endpointName, inProgress } from "../kernel/socket-info.ts"
import { EPOLLOUT, type Readiness } from "../watch/readiness.ts"
import { disconnect } from "./held-connections.ts"
import { isSocketGone } from "./socket-gone.ts"
import { relayHandlers, StreamRelay } from "./stream-relay.ts"
import type { Unhurried } from "./unhurried.ts"

type Socket = Bun.Socket<StreamRelay | undefined>

/** A socket of the program that is connected to us, and waits for what it is to be joined to. */
export class Arrival implements Speaker {
  /** The program's port on the loopback. */
  readonly port: number
  onCancelled: () => void = () => {}
  readonly #fd: number
  readonly #waiting: Waiting | undefined
  readonly #forget: () => void
  #relay: StreamRelay | undefined
  #join: ((relay: StreamRelay) => void) | undefined
  #isCancelled = false

  constructor(fd: number, port: number, waiting: Waiting | undefined, forget: () => void) {
    this.#fd = fd
    this.port = port
    this.#waiting = waiting
    this.#forget = forget
  }

  /** Settles when it is connected; it nearly always is at once. @throws LinuxError */
  get stands(): Promise<void> | undefined {
    return this.#waiting?.connected
  }

  get isSpeaking(): boolean {
    return this.#relay?.isSpeaking ?? true
  }

  get passedBytes(): number {
    return this.#relay?.passedBytes ?? 0
  }

  /** From now on the program talks with the remote side, and its descriptor here may be closed. */
  join(connection: RemoteConnection, onClosed: () => void): void {
    if (this.#isCancelled) {
      connection.close()
      return
    }
    this.#join = (relay) => relay.join(connection, onClosed)
    if (this.#relay) this.#join(this.#relay)
  }

  /** Makes the program's socket what it was before, as if it had never been connected. May be called again. */
  cancel(): void {
    if (this.#isCancelled || this.#join) return
    this.#isCancelled = true
    this.#waiting?.cancel()
    this.#forget()
    disconnect(this.#fd)
    // The kernel notes that it was broken off.
    pendingError(this.#fd)
    this.onCancelled()
  }

  /** Our end of it is there. */
  accepted(relay: StreamRelay): void {
    this.#relay = relay
    this.#join?.(relay)
  }
}

/** A listener of ours on the loopback that sockets of the program are connected to. */
export class Arrivals {
  readonly port: number
  readonly #ip: "127.0.0.1" | "::1"
  /** Where that is for sockets of each family. */
  readonly #addresses = new Map<number, Buffer>()
  readonly #readiness: Readiness
  readonly #unhurried: Unhurried
  readonly #listener: Bun.TCPSocketListener<StreamRelay | undefined>
  /** Not accepted yet, by the program's port. */
  readonly #expected = new Map<number, Arrival>()

  constructor(ip: "127.0.0.1" | "::1", readiness: Readiness, unhurried: Unhurried) {
    this.#ip = ip
    this.#readiness = readiness
    this.#unhurried = unhurried
    this.#listener = Bun.listen<StreamRelay | undefined>({
      hostname: ip,
      port: 0,
      allowHalfOpen: true,
      data: undefined,
      socket: { ...relayHandlers, open: (socket) => this.#accepted(socket) },
    })
    this.port = this.#listener.port
  }

  /** Connects the program's socket; `fd` must stay open until it is joined or cancelled. @throws LinuxError */
  expect(fd: number, family: number): Arrival {
    const result = connectLoopback(fd, this.#address(family))
    if (result < 0 && result !== inProgress) throw new LinuxError(result, "connect to the relay")
    const { port } = endpointName("getsockname", fd)!
    const waiting = result === inProgress ? waitUntilConnected(fd, this.#readiness) : undefined
    const arrival = new Arrival(fd, port, waiting, () => this.#forget(port, arrival))
    this.#expected.set(port, arrival)
    return arrival
  }

  close(): void {
    this.#listener.stop(true)
  }

  #address(family: number): Buffer {
    const known = this.#addresses.get(family) ?? addressFor(family, { ip: this.#ip, port: this.port })
    this.#addresses.set(family, known)
    return known
  }

  #forget(port: number, arrival: Arrival): void {
    if (this.#expected.get(port) === arrival) this.#expected.delete(port)
  }

  #accepted(socket: Socket): void {
    const port = socket.remotePort
    const arrival = this.#expected.get(port)
    // Somebody else on this machine: not for them.
    if (!arrival) {
      socket.terminate()
      return
    }
    this.#expected.delete(port)
    const [program, ours] = [
      { ip: this.#ip, port },
      { ip: this.#ip, port: this.port },
    ]
    const isGone = () => isSocketGone(program, ours)
    arrival.accepted(new StreamRelay(socket, { isGone, unhurried: this.#unhurried }))
  }
}

/** A socket that is being connected over the loopback. */
export interface Waiting {
  /** @throws LinuxError, ECONNABORTED after `cancel` */
  connected: Promise<void>
  cancel(): void
}

export function waitUntilConnected(fd: number, readiness: Readiness): Waiting {
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  promise.catch(() => {})
  const { cancel } = readiness.wait(fd, EPOLLOUT, () => {
    const number = pendingError(fd)
    if (number === 0) resolve()
    else reject(new LinuxError(number, "connect over the loopback"))
  })
  return {
    connected: promise,
    cancel() {
      cancel()
      reject(new LinuxError(-errno.ECONNABORTED, "connect over the loopback"))
    },
  }
}
