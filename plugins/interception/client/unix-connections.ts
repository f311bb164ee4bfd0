import { randomBytes } from "node:crypto"
import type { RemoteConnection } from "../../../core/client/engine.ts"
import { check } from "../../../core/linux/errno.ts"
import { encodeUnixAddress } from "../../../core/linux/socket-address.ts"
import type { SharedState } from "./shared-state.ts"
import { connectSocket } from "./socket-info.ts"
import { relayHandlers, StreamRelay } from "./stream-relay.ts"

/** How long the program's own connect, made on its behalf, may take to arrive. */
const arrivalMs = 5000
const nameBytes = 16

/** Joins unix stream sockets of the program to sockets in the pod, each by an abstract name used once. */
export class UnixConnections {
  readonly #shared: SharedState
  /** Remote path by our abstract name. */
  readonly #paths = new Map<string, Uint8Array>()
  readonly #listeners = new Set<Bun.UnixSocketListener<StreamRelay | undefined>>()

  constructor(shared: SharedState) {
    this.#shared = shared
  }

  /** `fd` stays the caller's. @throws LinuxError */
  join(fd: number, path: Uint8Array, connection: RemoteConnection): void {
    const name = `podside-${randomBytes(nameBytes).toString("hex")}`
    let taken = false
    const listener = Bun.listen<StreamRelay | undefined>({
      unix: `\0${name}`,
      allowHalfOpen: true,
      data: undefined,
      socket: {
        ...relayHandlers,
        open: (socket) => {
          if (taken) {
            socket.terminate()
            return
          }
          taken = true
          done()
          new StreamRelay(socket, connection, () => this.#paths.delete(name))
        },
      },
    } as Bun.UnixSocketOptions<StreamRelay | undefined>)
    const done = () => {
      clearTimeout(timer)
      this.#listeners.delete(listener)
      listener.stop()
    }
    const timer = setTimeout(() => {
      done()
      this.#paths.delete(name)
      connection.close()
    }, arrivalMs)
    timer.unref()
    this.#listeners.add(listener)
    this.#paths.set(name, path)
    this.#shared.namedSockets = true
    try {
      check(connectSocket(fd, encodeUnixAddress({ abstract: Buffer.from(name) })), "connect to the relay")
    } catch (thrown) {
      done()
      this.#paths.delete(name)
      connection.close()
      throw thrown
    }
  }

  /** The remote path behind a peer's name as the kernel tells it (struct sockaddr_un). */
  pathOf(address: Buffer): Uint8Array | undefined {
    if (address.length < 4 || address[2] !== 0) return undefined
    return this.#paths.get(address.toString("latin1", 3))
  }

  close(): void {
    for (const listener of this.#listeners) listener.stop(true)
  }
}
