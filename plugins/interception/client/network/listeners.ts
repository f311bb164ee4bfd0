import type { IncomingWorld } from "../../../../core/client/engine.ts"
import type { Endpoint } from "../../../../core/interceptor.ts"
import { isUnspecified, socketCookie } from "../kernel/socket-info.ts"
import type { SharedState } from "../watch/shared-state.ts"
import { ListeningPorts } from "./listening-ports.ts"

/** How often closed listeners are looked for. */
const sweepMs = 250
/** Bound sockets remembered; older ones are forgotten, at the price that they show their true port. */
const maxBound = 4096

export interface Listener {
  requested: Endpoint
  local: Endpoint
}

/** The program's listening sockets, and which port it believes them to have. */
export class Listeners {
  readonly #incoming: IncomingWorld | undefined
  readonly #shared: SharedState
  /** What `bind` was asked for, by socket cookie; only where that is not what the kernel tells. */
  readonly #requested = new Map<bigint, Endpoint>()
  readonly #live = new Map<bigint, Listener>()
  /** Ports of listeners the kernel chose. */
  readonly #chosen = new Set<number>()
  #sweeper: ReturnType<typeof setInterval> | undefined
  readonly #listening = new ListeningPorts()

  constructor(incoming: IncomingWorld | undefined, shared: SharedState) {
    this.#incoming = incoming
    this.#shared = shared
  }

  remember(fd: number, requested: Endpoint): void {
    if (requested.port !== 0) this.#shared.namedSockets = true
    this.#requested.set(socketCookie(fd), requested)
    for (const old of this.#requested.keys()) {
      if (this.#requested.size <= maxBound) break
      this.#requested.delete(old)
    }
  }

  /** What `bind` was asked for. */
  requestedFor(fd: number): Endpoint | undefined {
    return this.#requested.get(socketCookie(fd))
  }

  isLive(fd: number): boolean {
    return this.#live.has(socketCookie(fd))
  }

  add(fd: number, listener: Listener): void {
    this.#shared.namedSockets = true
    this.#live.set(socketCookie(fd), listener)
    this.#startSweeping()
  }

  addChosen(port: number): void {
    this.#chosen.add(port)
    this.#incoming?.chosen?.(port, true)
    this.#startSweeping()
  }

  remove(fd: number): void {
    this.#live.delete(socketCookie(fd))
  }

  /** Where a listener that asked for this port really is; undefined when there is none or it is right there. */
  movedTo(port: number): number | undefined {
    for (const { requested, local } of this.#live.values()) {
      if (requested.port === port && local.port !== port) return local.port
    }
    return undefined
  }

  /** The listener that keeps the program from having this one, too, unless they share the port (SO_REUSEPORT). */
  inTheWayOf(place: Endpoint): Listener | undefined {
    return [...this.#live.values()].find(
      ({ requested }) => requested.port === place.port && overlap(requested.ip, place.ip),
    )
  }

  /** Names of a socket that listens or was accepted, given the kernel's. */
  async named(
    fd: number,
    own: Endpoint | undefined,
    peer: Endpoint | undefined,
  ): Promise<{ peer?: Endpoint; own?: Endpoint } | undefined> {
    if (!own) return undefined
    if (peer) return this.accepted(own, peer)
    const requested = this.requestedFor(fd)
    return requested && requested.port !== 0 ? { own: requested } : undefined
  }

  /** Names of an accepted connection, given the kernel's; undefined when it was made on this machine. */
  async accepted(own: Endpoint, peer: Endpoint): Promise<{ peer?: Endpoint; own: Endpoint } | undefined> {
    const caller = await this.#incoming?.peerOf(peer)
    const listener = [...this.#live.values()].find(({ local }) => local.port === own.port)
    const port = listener?.requested.port ?? own.port
    if (caller) return { peer: caller.source, own: { ip: caller.destination.ip, port } }
    return port === own.port ? undefined : { own: { ip: own.ip, port } }
  }

  close(): void {
    this.#stopSweeping()
    for (const listener of this.#live.values()) this.#incoming?.closed(listener)
    this.#live.clear()
  }

  #startSweeping(): void {
    this.#sweeper ??= setInterval(() => this.#sweep(), sweepMs)
    this.#sweeper.unref()
  }

  /** A listener of ours would keep the port, so nothing of it is held; the kernel's table tells when it is gone. */
  #sweep(): void {
    const ports = this.#listening.read()
    for (const [cookie, listener] of this.#live) {
      if (ports.has(listener.local.port)) continue
      this.#live.delete(cookie)
      this.#requested.delete(cookie)
      this.#incoming?.closed(listener)
    }
    for (const port of this.#chosen) {
      if (ports.has(port)) continue
      this.#chosen.delete(port)
      this.#incoming?.chosen?.(port, false)
    }
    if (this.#live.size === 0 && this.#chosen.size === 0) this.#stopSweeping()
  }

  #stopSweeping(): void {
    clearInterval(this.#sweeper)
    this.#sweeper = undefined
    this.#listening.close()
  }
}

/** Whether the address listened on takes in `other`, or the other way round. Most listeners on :: serve IPv4, too. */
function overlap(listening: string, other: string): boolean {
  if (listening === other) return true
  const sameFamily = listening.includes(":") === other.includes(":")
  return sameFamily ? isUnspecified(listening) || isUnspecified(other) : listening === "::"
}
