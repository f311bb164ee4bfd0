import type { RemoteConnection } from "../../../../core/client/engine.ts"
import type { Endpoint } from "../../../../core/interceptor.ts"
import { type Speaker, unheard } from "../../../../core/last-words.ts"
import { errno, LinuxError } from "../../../../core/linux/errno.ts"
import { syscall } from "../../../../core/linux/syscall.ts"
import { errnoOf } from "../kernel/call.ts"
import { socketInode } from "../kernel/file-identity.ts"
import { heldDescriptors } from "../kernel/held-descriptors.ts"
import {
  addressFor,
  connectLoopback,
  endpointName,
  inProgress,
  isLoopback,
  isOnlyV6,
  socketCookie,
  socketProtocol,
} from "../kernel/socket-info.ts"
import { questionsLeave } from "../turn.ts"
import type { Readiness } from "../watch/readiness.ts"
import type { SharedState } from "../watch/shared-state.ts"
import { type Arrival, Arrivals, waitUntilConnected } from "./arrivals.ts"
import { FailedConnects } from "./failed-connects.ts"
import { disconnect, HeldConnections } from "./held-connections.ts"
import { Patience, patienceMs } from "./patience.ts"
import { isSocketGone } from "./socket-gone.ts"
import { relayHandlers, StreamRelay } from "./stream-relay.ts"
import { Unhurried } from "./unhurried.ts"

type Socket = Bun.Socket<StreamRelay | undefined>

/** What a connection of the program is called. */
interface Named {
  /** Both its ends on the loopback (`keyOf`): sockets with different peers may share a port. */
  key: string
  peer: Endpoint
  /** Of the program's socket. */
  inode?: number | undefined
  connection?: RemoteConnection
  speaker?: Speaker
}

const IPPROTO_TCP = 6

type LoopbackIp = "127.0.0.1" | "::1"

/** The two local ends a program's socket may be joined to, on one loopback address. */
interface Loopback {
  arrivals: Arrivals
  held: HeldConnections
}

/** A socket that is connected to us while the remote side is asked. */
interface Early {
  arrival: Arrival
  named: Named
}

/** Joins the program's own TCP sockets, by way of the loopback, to connections in the pod. */
export class TcpConnections {
  readonly #readiness: Readiness
  readonly #shared: SharedState
  readonly #patience = new Patience()
  readonly #unhurried = new Unhurried()
  readonly #loopbacks = new Map<LoopbackIp, Loopback>()
  /** By `key`. */
  readonly #named = new Map<string, Named>()
  /** Sockets that wait for the remote side, by cookie; each settles when it has answered, and never rejects. */
  readonly #pending = new Map<bigint, Promise<void>>()
  readonly failures: FailedConnects

  constructor(readiness: Readiness, shared: SharedState) {
    this.#readiness = readiness
    this.#shared = shared
    this.failures = new FailedConnects(shared)
  }

  /**
   * Connects a blocking socket once the remote side has, and takes over `fd`. The function given to `whenAbandoned` is to be
   * called when nobody waits any more, before the call is answered: with true when the socket shall be what it was before, else it goes on
   * to connect, as a non-blocking one, where that is possible; tells whether it does. @throws ErrnoError, LinuxError
   */
  async join(
    fd: number,
    family: number,
    peer: Endpoint,
    connect: () => Promise<RemoteConnection>,
    whenAbandoned: (leave: (forGood: boolean) => boolean) => void,
  ): Promise<void> {
    const connecting = connect()
    connecting.catch(() => {})
    let early: Early | undefined
    let isAbandoned = false
    whenAbandoned((forGood) => {
      if (isAbandoned) return false
      isAbandoned = true
      early?.arrival.cancel()
      const goesOn = !forGood && socketProtocol(fd) === IPPROTO_TCP
      // The program may close its own at once.
      if (goesOn) this.#hold(fd, family, peer, connecting)
      else syscall("close", fd)
      return goesOn
    })
    try {
      // Of others (MPTCP) it is not sure that they can be cancelled.
      if (socketProtocol(fd) === IPPROTO_TCP) {
        await questionsLeave()
        if (!isAbandoned) early = this.#arrive(fd, family, peer, connecting)
      }
      const connection = await connecting
      if (isAbandoned) return
      await this.#joinTo(connection, fd, family, early ?? this.#arrive(fd, family, peer, connecting))
    } catch (thrown) {
      if (!isAbandoned) early?.arrival.cancel()
      throw thrown
    } finally {
      if (!isAbandoned) syscall("close", fd)
    }
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
    if (!isWorthwhile) return this.#hold(fd, family, peer, connecting)
    let early: Early | undefined
    try {
      await questionsLeave()
      early = this.#arrive(fd, family, peer, connecting)
      if (await isSettledWithin(connecting, patienceMs)) {
        await this.#joinTo(await connecting, fd, family, early)
        syscall("close", fd)
        return 0
      }
    } catch (thrown) {
      early?.arrival.cancel()
      syscall("close", fd)
      throw thrown
    }
    early.arrival.cancel()
    return this.#hold(fd, family, peer, connecting)
  }

  /**
   * Connects the program's socket to us, best while the remote side is asked: the program's thread is stopped in `connect` and sees
   * nothing of it before the answer has come, and then little is left to be done. @throws LinuxError
   */
  #arrive(fd: number, family: number, peer: Endpoint, connecting: Promise<RemoteConnection>): Early {
    try {
      const ip = loopbackFor(fd, family)
      const { arrivals } = this.#loopback(ip)
      const arrival = arrivals.expect(fd, family)
      const key = keyOf({ ip, port: arrival.port }, arrivals.port)
      const named = this.#name({ key, peer, inode: socketInode(fd) })
      arrival.onCancelled = () => this.#unname(named)
      return { arrival, named }
    } catch (thrown) {
      connecting.then((connection) => connection.close()).catch(() => {})
      throw thrown
    }
  }

  /** @throws LinuxError */
  async #joinTo(connection: RemoteConnection, fd: number, family: number, { arrival, named }: Early): Promise<void> {
    try {
      await arrival.stands
    } catch (thrown) {
      connection.close()
      throw thrown
    }
    this.#established(fd, family, named, connection)
    named.speaker = arrival
    arrival.join(connection, () => this.#unname(named))
    setImmediate(() => this.#unhurried.do())
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
    const named = this.#name({ key: keyOf(own, held.port), peer })
    const cookie = socketCookie(fd)
    const join = async () => {
      const connection = await connecting
      this.#established(fd, family, named, connection)
      try {
        await this.#relay(held.complete(own), connection, own, { ip, port: held.port }, named)
        heldDescriptors.letGo(fd)
      } catch (thrown) {
        connection.close()
        throw thrown
      }
    }
    const settled = join()
      .catch((thrown) => {
        this.#unname(named)
        this.failures.add(fd, errnoOf(thrown) ?? errno.EIO)
        disconnect(fd)
      })
      .finally(() => {
        this.#pending.delete(cookie)
        syscall("close", fd)
      })
    this.#pending.set(cookie, settled)
    return inProgress
  }

  /** Names of a connected socket as the pod knows them, given the kernel's. */
  named(own: Endpoint | undefined, peer: Endpoint | undefined): { peer: Endpoint; own?: Endpoint } | undefined {
    if (!own || !peer || !isLoopback(peer.ip) || !this.#isOurs(peer.port)) return undefined
    const named = this.#named.get(keyOf(own, peer.port))
    return named && { peer: named.peer, own: named.connection?.local }
  }

  /** Settles when the remote side has answered, and never rejects; undefined for sockets that do not wait for that. */
  pending(fd: number): Promise<void> | undefined {
    return this.#pending.size > 0 ? this.#pending.get(socketCookie(fd)) : undefined
  }

  /** Connections that stand. */
  get speakers(): Speaker[] {
    return [...this.#named.values()].flatMap(({ speaker }) => speaker ?? [])
  }

  close(): void {
    this.#unhurried.do()
    for (const { arrivals, held } of this.#loopbacks.values()) {
      arrivals.close()
      held.close()
    }
    for (const { connection } of this.#named.values()) connection?.close()
  }

  #isOurs(port: number): boolean {
    return [...this.#loopbacks.values()].some(({ arrivals, held }) => port === arrivals.port || port === held.port)
  }

  #name(named: Named): Named {
    this.#shared.namedSockets = true
    this.#named.set(named.key, named)
    return named
  }

  #established(fd: number, family: number, named: Named, connection: RemoteConnection): void {
    named.connection = connection
    if (!connection.local) return
    named.inode ??= socketInode(fd)
    if (named.inode !== undefined)
      this.#shared.names.set(named.inode, family, { peer: named.peer, own: connection.local })
  }

  #unname(named: Named): void {
    if (this.#named.get(named.key) !== named) return
    this.#named.delete(named.key)
    if (named.inode !== undefined) this.#shared.names.remove(named.inode)
  }

  #loopback(ip: LoopbackIp): Loopback {
    const known = this.#loopbacks.get(ip)
    if (known) return known
    const made = { arrivals: new Arrivals(ip, this.#readiness, this.#unhurried), held: new HeldConnections(ip) }
    this.#loopbacks.set(ip, made)
    return made
  }

  async #relay(
    fd: number,
    connection: RemoteConnection,
    program: Endpoint,
    ours: Endpoint,
    named: Named,
  ): Promise<void> {
    const end = { isGone: () => isSocketGone(program, ours), unhurried: this.#unhurried }
    named.speaker = unheard
    await Bun.connect<StreamRelay | undefined>({
      fd,
      allowHalfOpen: true,
      data: undefined,
      socket: {
        ...relayHandlers,
        open: (socket: Socket) => {
          const relay = new StreamRelay(socket, end)
          named.speaker = relay
          relay.join(connection, () => this.#unname(named))
        },
      },
    } as unknown as Bun.TCPSocketConnectOptions<StreamRelay | undefined>)
  }

  /** Connects to a listener of this machine in place of the one asked for. @throws LinuxError */
  async joinHere(fd: number, address: Uint8Array): Promise<void> {
    const result = connectLoopback(fd, address)
    if (result === inProgress) await waitUntilConnected(fd, this.#readiness).connected
    else if (result < 0) throw new LinuxError(result, "connect")
  }
}

/** Whether `work` comes to something in that time; it goes on otherwise. */
async function isSettledWithin(work: Promise<unknown>, milliseconds: number): Promise<boolean> {
  const limit = Promise.withResolvers<false>()
  const timer = setTimeout(() => limit.resolve(false), milliseconds)
  const settled = () => true
  try {
    return await Promise.race([work.then(settled, settled), limit.promise])
  } finally {
    clearTimeout(timer)
  }
}

function loopbackFor(fd: number, family: number): LoopbackIp {
  return isOnlyV6(fd, family) ? "::1" : "127.0.0.1"
}

/** @param ours port of ours that the socket with the name `own` is connected to */
function keyOf({ ip, port }: Endpoint, ours: number): string {
  return `${ip} ${port} ${ours}`
}
