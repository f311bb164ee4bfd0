import type { RemoteConnection } from "../../../../core/client/engine.ts"
import type { Endpoint } from "../../../../core/interceptor.ts"
import type { Speaker } from "../../../../core/last-words.ts"
import type { Logger } from "../../../../core/log.ts"
import { isUnspecified, type Loopback, sameEndpoint } from "../kernel/socket-info.ts"
import type { ResolverPlace } from "../watch/quick-resolver.ts"
import type { SharedState } from "../watch/shared-state.ts"
import { answerDatagram } from "./answer-datagram.ts"
import { type ConnectedSocket, hearOnly, heirOf, refuseDatagrams } from "./datagram-refusal.ts"
import { udpSockets } from "./udp-sockets.ts"

/** More pairs of socket and destination than this are not kept; the ones unused longest go first. */
const maxAssociations = 512
/** Datagrams that wait for the remote side to be reached. */
const maxWaiting = 64
/** How often associations of sockets that are gone are looked for. */
const sweepMs = 10_000

/** One socket of the program talking to one remote endpoint, by way of a socket of ours on the loopback. */
export class UdpAssociation {
  readonly peer: Endpoint
  readonly ip: Loopback
  readonly port: number
  /** Name of the program's socket, once it has one. */
  #program: Endpoint | undefined
  /** The only one our socket hears; everybody, when undefined. */
  #heard: Endpoint | undefined
  /** The program's socket, when it is connected: such a socket learns that nobody takes its datagrams. */
  connectedSocket: ConnectedSocket | undefined
  usedAt = Date.now()
  connection: RemoteConnection | undefined
  readonly #socket: Bun.udp.Socket<"buffer">
  readonly #connect: () => Promise<RemoteConnection>
  readonly #log: Logger
  #connecting: Promise<void> | undefined
  #waiting: Uint8Array[] = []
  passedBytes = 0
  #closed = false

  static async open(
    ip: Loopback,
    peer: Endpoint,
    connect: () => Promise<RemoteConnection>,
    log: Logger,
  ): Promise<UdpAssociation> {
    const holder: { association?: UdpAssociation } = {}
    const socket = await Bun.udpSocket({
      hostname: ip,
      port: 0,
      socket: {
        data: (_, data, port) => holder.association?.fromProgram(data, port),
        error: () => {},
      },
    })
    holder.association = new UdpAssociation(socket, ip, peer, connect, log)
    return holder.association
  }

  private constructor(
    socket: Bun.udp.Socket<"buffer">,
    ip: Loopback,
    peer: Endpoint,
    connect: () => Promise<RemoteConnection>,
    log: Logger,
  ) {
    this.#socket = socket
    this.ip = ip
    this.port = socket.port
    this.peer = peer
    this.#connect = connect
    this.#log = log
  }

  get program(): Endpoint | undefined {
    return this.#program
  }

  /** The port of a socket changes when it is unconnected and connected anew. */
  set program(name: Endpoint | undefined) {
    this.#program = name
    if (this.#heard && name && !sameEndpoint(this.#heard, name)) this.#hear(name)
  }

  /** Resolves when the remote side is reached. @throws ErrnoError */
  connected(): Promise<void> {
    this.#connecting ??= this.#reach()
    return this.#connecting
  }

  fromProgram(data: Buffer, port: number): void {
    // The protocol knows no empty ones.
    if (port !== this.program?.port || data.length === 0) return
    this.usedAt = Date.now()
    this.passedBytes += data.length
    if (this.connection) {
      this.connection.write(new Uint8Array(data))
      return
    }
    if (this.#waiting.length < maxWaiting) this.#waiting.push(new Uint8Array(data))
    // Datagrams to nowhere are lost without a word, as on any network.
    this.connected().catch(() => {
      this.#waiting = []
    })
  }

  /** Datagrams are here, and it is not known yet whether the remote side can be reached. */
  get isReaching(): boolean {
    return this.#waiting.length > 0
  }

  /** The remote side is asked: a program that waits for that may have no port yet. */
  get isConnecting(): boolean {
    return this.#connecting !== undefined && this.connection === undefined
  }

  close(): void {
    if (this.#closed) return
    this.#closed = true
    this.connection?.close()
    this.#socket.close()
  }

  async #reach(): Promise<void> {
    try {
      const connection = await this.#connect()
      if (this.#closed) {
        connection.close()
        return
      }
      connection.attach({
        onData: (data) => {
          this.usedAt = Date.now()
          if (this.#closed || !this.program) return
          const { ip, port } = this.program
          answerDatagram(this.#socket, data, port, isUnspecified(ip) ? this.ip : ip)
        },
        onDrain: () => {},
        onEnd: () => {},
        onClose: (byPeer) => {
          this.#lost()
          if (byPeer && !this.#closed) this.#refuse()
        },
      })
      this.connection = connection
      for (const data of this.#waiting) connection.write(data)
      this.#waiting = []
    } catch (thrown) {
      this.#lost()
      this.#log.debug("no way to a remote UDP endpoint", { peer: this.peer, reason: String(thrown) })
      throw thrown
    }
  }

  #refuse(): void {
    const socket = this.connectedSocket
    if (!socket) return
    const ours = { fd: this.#fd, ip: this.ip, port: this.port }
    const name = refuseDatagrams(socket, ours)
    const heir = name ? undefined : heirOf(socket)
    if (heir) this.connectedSocket = { ...heir, inode: socket.inode }
    this.#heard = name ?? (heir && refuseDatagrams(heir, ours)) ?? this.#heard
  }

  #hear(name: Endpoint): void {
    hearOnly(this.#fd, name)
    this.#heard = name
  }

  /** Bun has it, and does not say so in its types. */
  get #fd(): number {
    return (this.#socket as unknown as { fd: number }).fd
  }

  /** The next datagram opens it again. */
  #lost(): void {
    this.connection = undefined
    this.#connecting = undefined
  }
}

/** All UDP associations of one program. */
export class UdpAssociations {
  readonly #shared: SharedState
  readonly #log: Logger
  readonly #byKey = new Map<string, UdpAssociation>()
  readonly #byPort = new Map<number, UdpAssociation>()
  #sweeper: ReturnType<typeof setInterval> | undefined

  constructor(shared: SharedState, log: Logger) {
    this.#shared = shared
    this.#log = log
  }

  /** The way of the socket with this cookie to `peer`, made when there is none. */
  async of(
    cookie: bigint,
    ip: Loopback,
    peer: Endpoint,
    connect: () => Promise<RemoteConnection>,
  ): Promise<UdpAssociation> {
    const key = keyOf(cookie, peer)
    const known = this.#byKey.get(key)
    if (known) return known
    const made = await UdpAssociation.open(ip, peer, connect, this.#log)
    const meanwhile = this.#byKey.get(key)
    if (meanwhile) {
      made.close()
      return meanwhile
    }
    this.#byKey.set(key, made)
    this.#byPort.set(made.port, made)
    this.#shared.namedSockets = true
    this.#shared.udpAssociations = true
    this.#sweeper ??= setInterval(() => this.#sweep(), sweepMs)
    this.#sweeper.unref()
    if (this.#byKey.size > maxAssociations) this.#dropOldest()
    return made
  }

  /** Whether the socket has a way to `peer` already. */
  knows(cookie: bigint, peer: Endpoint): boolean {
    return this.#byKey.has(keyOf(cookie, peer))
  }

  /** The resolver's socket answers as the name server. */
  resolver: ResolverPlace | undefined

  /** Who is behind an address of ours; undefined for all other addresses. */
  behind(address: Endpoint | undefined): { peer: Endpoint; own?: Endpoint } | undefined {
    if (this.resolver && sameEndpoint(address, this.resolver.at)) return { peer: this.resolver.server }
    const association = this.from(address)
    const own = association?.connection?.local
    return association && { peer: association.peer, ...(own && { own }) }
  }

  /** The association a datagram of this source came through; undefined for all other sources. */
  from(source: Endpoint | undefined): UdpAssociation | undefined {
    if (!source) return undefined
    const association = this.#byPort.get(source.port)
    return association?.ip === source.ip ? association : undefined
  }

  /** All of them together: datagrams of the program that nobody has passed on. */
  get speakers(): Speaker[] {
    const all = [...this.#byKey.values()]
    if (all.length === 0) return []
    return [
      {
        get isSpeaking() {
          const unread = new Set(udpSockets.read().flatMap(({ port, unreadBytes }) => (unreadBytes > 0 ? port : [])))
          return all.some((association) => association.isReaching || unread.has(association.port))
        },
        get passedBytes() {
          return all.reduce((sum, { passedBytes }) => sum + passedBytes, 0)
        },
      },
    ]
  }

  close(): void {
    clearInterval(this.#sweeper)
    for (const association of this.#byKey.values()) association.close()
    this.#byKey.clear()
    this.#byPort.clear()
  }

  #sweep(): void {
    const inUse = new Set(udpSockets.read().map(({ port }) => port))
    for (const [key, association] of this.#byKey) {
      const fresh = Date.now() - association.usedAt < sweepMs || association.isConnecting
      if (!fresh && !inUse.has(association.program?.port ?? 0)) this.#drop(key, association)
    }
    if (this.#byKey.size > 0) return
    clearInterval(this.#sweeper)
    this.#sweeper = undefined
  }

  #dropOldest(): void {
    const all = [...this.#byKey].sort(([, a], [, b]) => a.usedAt - b.usedAt)
    const [key, association] = all[0]!
    this.#drop(key, association)
  }

  #drop(key: string, association: UdpAssociation): void {
    this.#byKey.delete(key)
    this.#byPort.delete(association.port)
    association.close()
  }
}

function keyOf(cookie: bigint, { ip, port }: Endpoint): string {
  return `${cookie} ${ip} ${port}`
}
