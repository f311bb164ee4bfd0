import type { TLSOptions } from "bun"
import { errorText } from "../../../core/errors.ts"
import type { Diversion, Route, TcpEvents, TcpSocket } from "../../../core/interceptor.ts"
import { LinuxError } from "../../../core/linux/errno.ts"
import { deaf } from "../deaf.ts"
import { handshakeMilliseconds, wrapInTls } from "./tls-socket.ts"

/** `nobody`: nothing answers at the application's port. */
export type Readiness =
  | { kind: "ready"; alpnProtocol: string | undefined }
  | { kind: "nobody" }
  | { kind: "failed"; reason: string }

/** In TLS 1.3 a server judges its client's certificate when that client is already done; if it hangs up, it does so this soon. */
const secondThoughtsMilliseconds = 500

const maxEarlyPieces = 8

/**
 * The way to the application of one connection whose TLS ends here: TLS again. The first connection is made before the
 * caller is answered, so that a caller never gets an agent that cannot reach the application as it should.
 */
export class ApplicationTls implements Pick<Diversion, "connectToApplication"> {
  readonly #diversion: Pick<Diversion, "connectToApplication">
  readonly #tls: TLSOptions
  readonly #onRefused: () => void
  #ready: ReadyConnection | undefined

  /** `onRefused`: the application hung up on a connection that had done nothing yet. */
  constructor(diversion: Pick<Diversion, "connectToApplication">, tls: TLSOptions, onRefused: () => void) {
    this.#diversion = diversion
    this.#tls = tls
    this.#onRefused = onRefused
  }

  async prepare(route: Route): Promise<Readiness> {
    const { promise, resolve } = Promise.withResolvers<Readiness>()
    const ready = new ReadyConnection(() => resolve({ kind: "nobody" }), this.#onRefused)
    let socket: TcpSocket
    try {
      socket = this.#connect(route, ready, (secured, error) => {
        if (error) return resolve({ kind: "failed", reason: reasonOf(error) })
        ready.take(secured)
        this.#ready = ready
        resolve({ kind: "ready", alpnProtocol: secured.alpnProtocol || undefined })
      })
    } catch (thrown) {
      return thrown instanceof LinuxError ? { kind: "nobody" } : { kind: "failed", reason: errorText(thrown) }
    }
    const timer = setTimeout(() => {
      resolve({ kind: "failed", reason: `no TLS handshake within ${handshakeMilliseconds / 1000} s` })
      socket.terminate()
    }, handshakeMilliseconds)
    return promise.finally(() => clearTimeout(timer))
  }

  connectToApplication(route: Route, events: TcpEvents): TcpSocket {
    const ready = this.#ready
    this.#ready = undefined
    return ready?.handTo(events) ?? this.#connect(route, events, () => {})
  }

  /** Nobody will ask for the connection that was made ahead. */
  dispose(): void {
    this.#ready?.dispose()
    this.#ready = undefined
  }

  #connect(route: Route, events: TcpEvents, onHandshake: (socket: TcpSocket, error?: Error) => void): TcpSocket {
    const socket = this.#diversion.connectToApplication(route, deaf)
    try {
      return wrapInTls(socket, { tls: this.#tls, onHandshake, events })
    } catch (thrown) {
      socket.terminate()
      throw thrown
    }
  }
}

/** A connection that stands and waits for its user; what comes meanwhile is kept. */
class ReadyConnection implements TcpEvents {
  readonly #onLost: () => void
  readonly #onRefused: () => void
  #socket: TcpSocket | undefined
  #readyAt = 0
  #early: Buffer[] = []

  constructor(onLost: () => void, onRefused: () => void) {
    this.#onLost = onLost
    this.#onRefused = onRefused
  }

  /** Not paused: while nothing was asked, the application says no more than its settings. */
  take(socket: TcpSocket): void {
    this.#socket = socket
    this.#readyAt = performance.now()
  }

  handTo(events: TcpEvents): TcpSocket | undefined {
    const socket = this.#socket
    if (!socket) return undefined
    this.#socket = undefined
    socket.data = events
    // Not before its user knows the socket.
    queueMicrotask(() => {
      for (const bytes of this.#early) events.onData(bytes)
      socket.resume()
    })
    return socket
  }

  dispose(): void {
    const socket = this.#socket
    this.#socket = undefined
    if (!socket) return
    socket.data = deaf
    socket.end()
  }

  onData(bytes: Buffer): void {
    this.#early.push(bytes)
    if (this.#early.length === maxEarlyPieces) this.#socket?.pause()
  }

  onDrain(): void {}

  onEnd(): void {
    this.#refused()
    this.dispose()
  }

  onClose(): void {
    this.#refused()
    this.#socket = undefined
    this.#onLost()
  }

  #refused(): void {
    const isSoon = performance.now() - this.#readyAt < secondThoughtsMilliseconds
    if (this.#socket && isSoon && this.#early.length === 0) this.#onRefused()
  }
}

/** Errors of the handshake carry a code that says more than their text, such as CERT_HAS_EXPIRED. */
function reasonOf(error: Error & { code?: string }): string {
  const text = errorText(error)
  return error.code && !text.includes(error.code) ? `${text} (${error.code})` : text
}
