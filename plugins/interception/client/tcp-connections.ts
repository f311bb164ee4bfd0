import type { RemoteConnection } from "../../../core/client/engine.ts"
import type { Endpoint } from "../../../core/interceptor.ts"
import { errno, LinuxError } from "../../../core/linux/errno.ts"
import { pendingError } from "../../../core/linux/socket.ts"
import { syscall } from "../../../core/linux/syscall.ts"
import { errnoOf } from "./call.ts"
import { socketInode } from "./file-identity.ts"
import { disconnect, HeldConnections } from "./held-connections.ts"
import { heldDescriptors } from "./held-descriptors.ts"
import { Patience, patienceMs } from "./patience.ts"
import { EPOLLOUT, type Readiness } from "./readiness.ts"
import type { SharedState } from "./shared-state.ts"
import { isSocketGone } from "./socket-gone.ts"
import {
  addressFor,
  connectLoopback,
  endpointName,
  inProgress,
  isLoopback,
  isOnlyV6,
  socketCookie,
} from "./socket-info.ts"
import { relayHandlers, StreamRelay } from "./stream-relay.ts"

type Socket = Bun.Socket<StreamRelay | undefined>

/** What a connection of the program is called. */
interface Named {
  peer: Endpoint
  /** Of the program's socket. */
  inode?: number
  connection?: RemoteConnection
}

/** Failed connects nobody asked about yet; older ones are forgotten. */
const maxFailures = 1024

type LoopbackIp = "127.0.0.1" | "::1"

/** The two local ends a program's socket may be joined to, on one loopback address. */
interface Loopback {
  listener: Bun.TCPSocketListener<StreamRelay | undefined>
  held: HeldConnections
}

/** Joins the program's own TCP sockets, by way of the loopback, to connections in the pod. */
export class TcpConnections {
  readonly #readiness: Readiness
  readonly #shared: SharedState
  readonly #patience = new Patience()
  readonly #loopbacks = new Map<LoopbackIp, Loopback>()
  /** Connected but not yet accepted by our listener, by the program's port. */
  readonly #arriving = new Map<number, { connection: RemoteConnection; named: Named }>()
  /** By the program's port on the loopback. */
  readonly #named = new Map<number, Named>()
  /** Sockets that wait for the remote side. */
  #held = 0
  /** Errno by socket cookie. */
  readonly #failures = new Map<bigint, number>()

  constructor(readiness: Readiness, shared: SharedState) {
    this.#readiness = readiness
    this.#shared = shared
  }

  /** Connects a blocking socket once the remote side has; `fd` stays the caller's. @throws ErrnoError, LinuxError */
  async join(fd: number, family: number, peer: Endpoint, connect: () => Promise<RemoteConnection>): Promise<void> {
    await this.#joinTo(await connect(), fd, family, peer)
  }

  /**
   * Connects a non-blocking socket of thread `tid` and takes over `fd`. Returns 0 when it is connected already, EINPROGRESS when
   * what comes of it will show on the socket, or another errno, all negative. @throws ErrnoError, LinuxError
   */
  async begin(
    tid: number,
    fd: number,
    family: number,
    peer: Endpoint,
    connect: () => Promise<RemoteConnection>,
  ): Promise<number> {
    const isWorthwhile = this.#patience.isWorthwhile(tid)
    const answered = this.#patience.begin(tid)
    const connecting = connect()
    connecting.then(answered, answered)
    try {
      if (isWorthwhile) {
        const connection = await within(connecting, patienceMs)
        if (connection) {
          await this.#joinTo(connection, fd, family, peer)
          syscall("close", fd)
          return 0
        }
      }
    } catch (thrown) {
      syscall("close", fd)
      throw thrown
    }
    return this.#hold(fd, family, peer, connecting)
  }

  async #joinTo(connection: RemoteConnection, fd: number, family: number, peer: Endpoint): Promise<void> {
    try {
      const ip = loopbackFor(fd, family)
      const address = addressFor(family, { ip, port: this.#loopback(ip).listener.port })
      const result = connectLoopback(fd, address)
      if (result < 0 && result !== inProgress) throw new LinuxError(result, "connect to the relay")
      const port = endpointName("getsockname", fd)!.port
      const named = this.#name(port, { peer })
      this.#established(fd, family, named, connection)
      this.#arriving.set(port, { connection, named })
      if (result === inProgress)
        await this.#connected(fd).catch((thrown) => {
          this.#arriving.delete(port)
          this.#unname(port, named)
          throw thrown
        })
    } catch (thrown) {
      connection.close()
      throw thrown
    }
  }

  /** Lets a non-blocking socket wait for the remote side. Returns a negative errno: EINPROGRESS, or why it cannot even begin. */
  #hold(fd: number, family: number, peer: Endpoint, connecting: Promise<RemoteConnection>): number {
    const ip = loopbackFor(fd, family)
    const { held } = this.#loopback(ip)
    const result = held.hold(fd, addressFor(family, { ip, port: held.port }))
    if (result < 0) {
      syscall("close", fd)
      connecting.then((connection) => connection.close()).catch(() => {})
      return result
    }
    const own = endpointName("getsockname", fd)!
    const { port } = own
    const named = this.#name(port, { peer })
    const join = async () => {
      const connection = await connecting
      this.#established(fd, family, named, connection)
      try {
        await this.#relay(held.complete(own), connection, port, named)
        heldDescriptors.letGo(fd)
      } catch (thrown) {
        connection.close()
        throw thrown
      }
    }
    this.#held++
    join()
      .catch((thrown) => {
        this.#unname(port, named)
        this.#remember(socketCookie(fd), errnoOf(thrown) ?? errno.EIO)
        disconnect(fd)
      })
      .finally(() => {
        this.#held--
        syscall("close", fd)
      })
    return inProgress
  }

  /** Whether some socket has an error to be told yet. */
  get hasFailures(): boolean {
    return this.#failures.size > 0
  }

  /** Takes the errno of a failed connect of this socket; 0 when there is none. */
  takeFailure(fd: number): number {
    if (this.#failures.size === 0) return 0
    const cookie = socketCookie(fd)
    const number = this.#failures.get(cookie) ?? 0
    if (this.#failures.delete(cookie)) this.#shared.failedConnects = this.hasFailures
    // Clears what the kernel made of it, so that it is told only once.
    if (number !== 0) pendingError(fd)
    return number
  }

  /** Names of a connected socket as the pod knows them, given the kernel's. */
  named(own: Endpoint | undefined, peer: Endpoint | undefined): { peer: Endpoint; own?: Endpoint } | undefined {
    if (!own || !peer || !isLoopback(peer.ip) || !this.#isOurs(peer.port)) return undefined
    const named = this.#named.get(own.port)
    return named && { peer: named.peer, own: named.connection?.local }
  }

  /** Whether the socket still connects, which the kernel does not tell. */
  isPending(fd: number): boolean {
    if (this.#held === 0) return false
    const own = endpointName("getsockname", fd)
    const named = own && this.#named.get(own.port)
    return named !== undefined && named.connection === undefined
  }

  close(): void {
    for (const { listener, held } of this.#loopbacks.values()) {
      listener.stop(true)
      held.close()
    }
    for (const { connection } of this.#named.values()) connection?.close()
  }

  #isOurs(port: number): boolean {
    return [...this.#loopbacks.values()].some(({ listener, held }) => port === listener.port || port === held.port)
  }

  #name(port: number, named: Named): Named {
    this.#shared.namedSockets = true
    this.#named.set(port, named)
    return named
  }

  #established(fd: number, family: number, named: Named, connection: RemoteConnection): void {
    named.connection = connection
    if (!connection.local) return
    named.inode = socketInode(fd)
    if (named.inode !== undefined)
      this.#shared.names.set(named.inode, family, { peer: named.peer, own: connection.local })
  }

  #unname(port: number, named: Named): void {
    if (this.#named.get(port) !== named) return
    this.#named.delete(port)
    if (named.inode !== undefined) this.#shared.names.remove(named.inode)
  }

  #remember(cookie: bigint, number: number): void {
    this.#failures.set(cookie, number)
    this.#shared.failedConnects = true
    for (const old of this.#failures.keys()) {
      if (this.#failures.size <= maxFailures) break
      this.#failures.delete(old)
    }
  }

  #loopback(ip: LoopbackIp): Loopback {
    const known = this.#loopbacks.get(ip)
    if (known) return known
    const listener = Bun.listen<StreamRelay | undefined>({
      hostname: ip,
      port: 0,
      allowHalfOpen: true,
      data: undefined,
      socket: { ...relayHandlers, open: (socket) => this.#accepted(socket) },
    })
    const made = { listener, held: new HeldConnections(ip) }
    this.#loopbacks.set(ip, made)
    return made
  }

  #accepted(socket: Socket): void {
    const port = socket.remotePort
    const arriving = this.#arriving.get(port)
    // Somebody else on this machine: not for them.
    if (!arriving) {
      socket.terminate()
      return
    }
    this.#arriving.delete(port)
    startRelay(socket, arriving.connection, () => this.#unname(port, arriving.named))
  }

  async #relay(fd: number, connection: RemoteConnection, port: number, named: Named): Promise<void> {
    await Bun.connect<StreamRelay | undefined>({
      fd,
      allowHalfOpen: true,
      data: undefined,
      socket: {
        ...relayHandlers,
        open: (socket: Socket) => startRelay(socket, connection, () => this.#unname(port, named)),
      },
    } as unknown as Bun.TCPSocketConnectOptions<StreamRelay | undefined>)
  }

  /** Connects to a listener of this machine in place of the one asked for. @throws LinuxError */
  async joinHere(fd: number, address: Uint8Array): Promise<void> {
    const result = connectLoopback(fd, address)
    if (result === inProgress) await this.#connected(fd)
    else if (result < 0) throw new LinuxError(result, "connect")
  }

  #connected(fd: number): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#readiness.wait(fd, EPOLLOUT, () => {
        const number = pendingError(fd)
        if (number === 0) resolve()
        else reject(new LinuxError(number, "connect over the loopback"))
      })
    })
  }
}

function startRelay(socket: Socket, connection: RemoteConnection, onClosed: () => void): void {
  const isPeerGone = () =>
    isSocketGone(
      { ip: socket.remoteAddress, port: socket.remotePort },
      { ip: socket.localAddress, port: socket.localPort },
    )
  new StreamRelay(socket, connection, onClosed, isPeerGone)
}

/** What `work` comes to, undefined when that takes longer; it goes on then. */
async function within<T>(work: Promise<T>, milliseconds: number): Promise<T | undefined> {
  const limit = Promise.withResolvers<undefined>()
  const timer = setTimeout(() => limit.resolve(undefined), milliseconds)
  try {
    return await Promise.race([work, limit.promise])
  } finally {
    clearTimeout(timer)
  }
}

function loopbackFor(fd: number, family: number): LoopbackIp {
  return isOnlyV6(fd, family) ? "::1" : "127.0.0.1"
}
