import type { Endpoint } from "../../../interceptor.ts"
import type { IncomingPeer } from "../../engine.ts"
import type { LocalStream, LocalStreamHandlers } from "../../local-stream.ts"
import type { LocalTls } from "../../local-tls.ts"
import type { KnownStream, Peers } from "./peers.ts"

/** A connection to the program that carries one request after the other. */
export class PooledConnection implements LocalStreamHandlers {
  readonly stream: LocalStream
  readonly #known: KnownStream
  /** Idle connections to the same place, this one among them while it is idle. */
  readonly #idle: PooledConnection[]
  /** It has carried a request before, so the program may be about to close it. */
  used = false
  idleSince = 0

  constructor(known: KnownStream, idle: PooledConnection[]) {
    this.stream = known.stream
    this.#known = known
    this.#idle = idle
  }

  /** It carries a request of this caller from now on. */
  serve(peer: IncomingPeer): void {
    this.#known.rename(peer)
  }

  rest(): void {
    this.used = true
    this.idleSince = performance.now()
    this.stream.handlers = this
    this.stream.resume()
    this.#idle.push(this)
  }

  drop(): void {
    this.#known.forget()
    this.stream.close()
  }

  /** For an exchange that was broken off. */
  cut(): void {
    this.#known.forget()
    this.stream.destroy()
  }

  // ---- while it is idle, when whatever it says makes it useless

  data(): void {
    this.#leave()
  }

  drain(): void {}

  end(): void {
    this.#leave()
  }

  closed(): void {
    this.#leave()
  }

  #leave(): void {
    const at = this.#idle.indexOf(this)
    if (at >= 0) this.#idle.splice(at, 1)
    this.drop()
  }
}

/** Connections to the program that wait for another request. */
export class Http1Pool {
  readonly #peers: Peers
  readonly #idleMs: number
  /** By place, the newest last. */
  readonly #idle = new Map<string, PooledConnection[]>()
  #sweep: ReturnType<typeof setTimeout> | undefined

  constructor(peers: Peers, idleMs: number) {
    this.#peers = peers
    this.#idleMs = idleMs
  }

  /** The newest idle connection, or a new one, which is paused. Nobody hears yet what it says. */
  take(to: Endpoint, peer: IncomingPeer, tls?: LocalTls): PooledConnection | Promise<PooledConnection> {
    const idle = this.#idleAt(`${to.ip} ${to.port} ${tls ? JSON.stringify(tls.options) : ""}`)
    const newest = idle.pop()
    newest?.serve(peer)
    return newest ?? this.#peers.connect(to, peer, tls).then((known) => new PooledConnection(known, idle))
  }

  giveBack(connection: PooledConnection): void {
    if (this.#idleMs === 0) {
      connection.drop()
      return
    }
    connection.rest()
    this.#sweepIn(this.#idleMs)
  }

  close(): void {
    clearTimeout(this.#sweep)
    for (const idle of this.#idle.values()) for (const connection of idle.splice(0)) connection.drop()
  }

  #idleAt(place: string): PooledConnection[] {
    const known = this.#idle.get(place)
    if (known) return known
    const idle: PooledConnection[] = []
    this.#idle.set(place, idle)
    return idle
  }

  /** One timer for all: a connection may be idle and busy again a thousand times before one is old enough. */
  #sweepIn(milliseconds: number): void {
    if (this.#sweep) return
    this.#sweep = setTimeout(() => {
      this.#sweep = undefined
      const left = this.#dropOld(performance.now() - this.#idleMs)
      if (left !== undefined) this.#sweepIn(left)
    }, milliseconds)
    this.#sweep.unref()
  }

  /** Drops what has been idle since before `limit`; how much later the next is that old. */
  #dropOld(limit: number): number | undefined {
    let next: number | undefined
    for (const idle of this.#idle.values()) {
      while (idle[0] && idle[0].idleSince <= limit) idle.shift()!.drop()
      if (idle[0]) next = Math.min(next ?? Infinity, idle[0].idleSince - limit)
    }
    return next
  }
}
