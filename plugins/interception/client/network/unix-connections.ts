import { randomBytes } from "node:crypto"
import type { RemoteConnection } from "../../../../core/client/engine.ts"
import { type Speaker, unheard } from "../../../../core/last-words.ts"
import { check } from "../../../../core/linux/errno.ts"
import { openSocket, SOCK_SEQPACKET } from "../../../../core/linux/socket.ts"
import { AF_UNIX, encodeUnixAddress } from "../../../../core/linux/socket-address.ts"
import { syscall } from "../../../../core/linux/syscall.ts"
import { fileIdentity } from "../kernel/file-identity.ts"
import { connectSocket } from "../kernel/socket-info.ts"
import type { Readiness } from "../watch/readiness.ts"
import type { SharedState } from "../watch/shared-state.ts"
import { PacketRelay } from "./packet-relay.ts"
import { relayHandlers, StreamRelay } from "./stream-relay.ts"

/** How long the program's own connect, made on its behalf, may take to arrive. */
const arrivalMs = 5000
const nameBytes = 16
const SOCK_NONBLOCK = 0o4000
const SOCK_CLOEXEC = 0o2000000

/** Joins unix sockets of the program to sockets in the pod, each by an abstract name used once. */
export class UnixConnections {
  readonly #shared: SharedState
  /** By our abstract name. */
  readonly #joined = new Map<string, { path: Uint8Array; socket: string | undefined; speaker: Speaker }>()
  /** Remote path by the identity of the program's socket. */
  readonly #bySocket = new Map<string, Uint8Array>()
  readonly #listeners = new Set<Bun.UnixSocketListener<StreamRelay | undefined>>()

  readonly #relays = new Set<PacketRelay>()
  readonly #readiness: Readiness

  constructor(readiness: Readiness, shared: SharedState) {
    this.#readiness = readiness
    this.#shared = shared
  }

  /** `fd` stays the caller's. @throws LinuxError */
  join(fd: number, path: Uint8Array, connection: RemoteConnection): void {
    const name = newName()
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
          const relay = new StreamRelay(socket)
          const joined = this.#joined.get(name)
          if (joined) joined.speaker = relay
          relay.join(connection, () => this.#forget(name))
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
      this.#forget(name)
      connection.close()
    }, arrivalMs)
    timer.unref()
    this.#listeners.add(listener)
    this.#remember(name, fd, path)
    try {
      check(connectSocket(fd, encodeUnixAddress({ abstract: Buffer.from(name) })), "connect to the relay")
    } catch (thrown) {
      done()
      this.#forget(name)
      connection.close()
      throw thrown
    }
  }

  /** The same for a socket of packets. */
  joinPackets(fd: number, path: Uint8Array, connection: RemoteConnection): void {
    const name = newName()
    const address = encodeUnixAddress({ abstract: Buffer.from(name) })
    const listener = openSocket(AF_UNIX, SOCK_SEQPACKET)
    try {
      check(syscall("bind", listener, address, address.length), "bind")
      check(syscall("listen", listener, 1), "listen")
      check(connectSocket(fd, address), "connect to the relay")
      const accepted = check(syscall("accept4", listener, 0, 0, SOCK_NONBLOCK | SOCK_CLOEXEC), "accept")
      this.#remember(name, fd, path)
      const relay = new PacketRelay(accepted, connection, this.#readiness, () => {
        this.#forget(name)
        this.#relays.delete(relay)
      })
      this.#joined.get(name)!.speaker = relay
      this.#relays.add(relay)
    } catch (thrown) {
      connection.close()
      throw thrown
    } finally {
      syscall("close", listener)
    }
  }

  /** The remote path behind a peer's name as the kernel tells it (struct sockaddr_un). */
  pathOf(address: Buffer): Uint8Array | undefined {
    if (address.length < 4 || address[2] !== 0) return undefined
    return this.#joined.get(address.toString("latin1", 3))?.path
  }

  /** The same for a socket the engine has no descriptor of. */
  pathBehind(tid: number, fd: number): Uint8Array | undefined {
    const socket = fileIdentity(`/proc/${tid}/fd/${fd}`)
    return socket === undefined ? undefined : this.#bySocket.get(socket)
  }

  get speakers(): Speaker[] {
    return [...this.#joined.values()].map(({ speaker }) => speaker)
  }

  close(): void {
    for (const listener of this.#listeners) listener.stop(true)
    for (const relay of this.#relays) relay.close()
  }

  #remember(name: string, fd: number, path: Uint8Array): void {
    const socket = fileIdentity(fd)
    this.#joined.set(name, { path, socket, speaker: unheard })
    if (socket !== undefined) this.#bySocket.set(socket, path)
    this.#shared.namedSockets = true
  }

  #forget(name: string): void {
    const socket = this.#joined.get(name)?.socket
    this.#joined.delete(name)
    if (socket !== undefined) this.#bySocket.delete(socket)
  }
}

function newName(): string {
  return `podside-${randomBytes(nameBytes).toString("hex")}`
}
