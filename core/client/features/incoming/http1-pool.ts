import type { Endpoint } from "../../../interceptor.ts"
import type { IncomingPeer } from "../../engine.ts"
import type { LocalStream } from "../../local-stream.ts"
import type { LocalTls } from "../../local-tls.ts"
import type { Peers } from "./peers.ts"

export interface PooledConnection {
  stream: LocalStream
  /** It has carried a request before, so the program may be about to close it. */
  used: boolean
}

interface Idle extends PooledConnection {
  timer: ReturnType<typeof setTimeout>
}

/** Connections to the program that wait for another request. */
export class Http1Pool {
  readonly #peers: Peers
  readonly #idleMs: number
  readonly #idle = new Map<string, Idle[]>()
  readonly #forget = new WeakMap<LocalStream, () => void>()

  constructor(peers: Peers, idleMs: number) {
    this.#peers = peers
    this.#idleMs = idleMs
  }

  /** The newest idle connection, or a new one; paused and without handlers. */
  async take(to: Endpoint, peer: IncomingPeer, tls?: LocalTls): Promise<PooledConnection> {
    const idle = this.#idle.get(poolKey(to, tls))?.pop()
    if (idle) {
      clearTimeout(idle.timer)
      idle.stream.pause()
      this.#peers.rename(idle.stream.localAddress, peer)
      return { stream: idle.stream, used: true }
    }
    const { stream, forget } = await this.#peers.connect(to, peer, tls)
    this.#forget.set(stream, forget)
    return { stream, used: false }
  }

  giveBack(stream: LocalStream, to: Endpoint, tls?: LocalTls): void {
    if (this.#idleMs === 0) {
      this.drop(stream)
      return
    }
    const key = poolKey(to, tls)
    const waiting = this.#idle.get(key) ?? []
    this.#idle.set(key, waiting)
    const remove = () => {
      const at = waiting.indexOf(entry)
      if (at >= 0) waiting.splice(at, 1)
      clearTimeout(entry.timer)
      this.drop(stream)
    }
    const entry: Idle = {
      stream,
      used: true,
      timer: setTimeout(remove, this.#idleMs),
    }
    entry.timer.unref()
    waiting.push(entry)
    // Whatever an idle connection says makes it useless.
    stream.handlers = { data: remove, drain() {}, end: remove, closed: remove }
    stream.resume()
  }

  drop(stream: LocalStream): void {
    this.#forget.get(stream)?.()
    stream.close()
  }

  /** For an exchange that was broken off. */
  cut(stream: LocalStream): void {
    this.#forget.get(stream)?.()
    stream.destroy()
  }

  close(): void {
    for (const waiting of this.#idle.values()) {
      for (const { stream, timer } of waiting) {
        clearTimeout(timer)
        this.drop(stream)
      }
    }
    this.#idle.clear()
  }
}

const poolKey = (to: Endpoint, tls?: LocalTls) => `${to.ip} ${to.port} ${tls ? JSON.stringify(tls.options) : ""}`
