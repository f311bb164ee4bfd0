import type { Socket } from "bun"
import type { Endpoint } from "../interceptor.ts"
import { handshakeFailure } from "../tls-outcome.ts"
import { certificateProblem, type LocalTls } from "./local-tls.ts"

/** Bytes that may wait for a program of this machine before whoever sends them is asked to stop. */
const highWaterBytes = 256 << 10

export interface LocalStreamHandlers {
  data(bytes: Uint8Array): void
  /** What was queued is on its way; more may be written. */
  drain(): void
  /** The program sends no more. */
  end(): void
  /** Over, both ways; called once. */
  closed(error?: Error): void
}

/** A TCP connection with a program on this machine: queues what the socket does not take, knows half close. */
export class LocalStream {
  handlers: LocalStreamHandlers = { data() {}, drain() {}, end() {}, closed() {} }
  queuedBytes = 0
  readonly #socket: Socket<LocalStream>
  #queue: Uint8Array[] = []
  #ending = false
  #breaking = false
  #over = false

  constructor(socket: Socket<LocalStream>) {
    this.#socket = socket
    socket.data = this
    socket.setNoDelay(true)
  }

  /**
   * Connects, with TLS to the end of its handshake; the stream is paused. `onLocalAddress` is called as soon as the program
   * can accept the connection. @throws what the connection attempt throws
   */
  static async connect(
    to: Endpoint,
    tls?: LocalTls,
    onLocalAddress: (address: Endpoint) => void = () => {},
  ): Promise<LocalStream> {
    const { promise, resolve, reject } = Promise.withResolvers<LocalStream>()
    const ready = (socket: Socket<LocalStream>) => {
      const stream = new LocalStream(socket)
      stream.pause()
      resolve(stream)
    }
    const handshake = (socket: Socket<LocalStream>, isGood: boolean, error: Error | null) => {
      const problem =
        handshakeFailure(isGood, error, tls!.options.rejectUnauthorized) ??
        certificateProblem(tls!, () => socket.getPeerCertificate().raw)
      if (!problem) ready(socket)
      else {
        reject(problem)
        socket.terminate()
      }
    }
    Bun.connect<LocalStream>({
      hostname: to.ip,
      port: to.port,
      ...(tls ? { tls: tls.options } : {}),
      allowHalfOpen: true,
      socket: {
        ...LocalStream.callbacks,
        ...(tls ? { handshake } : {}),
        open(socket) {
          onLocalAddress({ ip: socket.localAddress, port: socket.localPort })
          if (!tls) ready(socket)
        },
        connectError: (_, error) => reject(error),
        close(socket, error) {
          reject(error ?? new Error("closed at once"))
          socket.data?.lost(error)
        },
      },
    }).catch(reject)
    return promise
  }

  /** For listeners too: give every accepted socket to the constructor in `open`. */
  static readonly callbacks = {
    data: (socket: Socket<LocalStream>, chunk: Uint8Array) => socket.data.handlers.data(chunk),
    drain: (socket: Socket<LocalStream>) => socket.data.flush(),
    end: (socket: Socket<LocalStream>) => socket.data.handlers.end(),
    close: (socket: Socket<LocalStream>, error?: Error) => socket.data?.lost(error),
    error: (socket: Socket<LocalStream>, error: Error) => socket.data?.lost(error),
  }

  get localAddress(): Endpoint {
    return { ip: this.#socket.localAddress, port: this.#socket.localPort }
  }

  get isOver(): boolean {
    return this.#over
  }

  get writable(): boolean {
    return this.#over || this.queuedBytes < highWaterBytes
  }

  /** False: wait for `drain`. */
  write(bytes: Uint8Array): boolean {
    if (this.#over || this.#ending) return true
    let rest = bytes
    if (this.#queue.length === 0) {
      const taken = Math.max(0, this.#socket.write(bytes))
      if (taken === bytes.byteLength) return true
      rest = bytes.subarray(taken)
    }
    this.#queue.push(rest)
    this.queuedBytes += rest.byteLength
    return this.queuedBytes < highWaterBytes
  }

  /** No more from here, after what is queued. */
  end(): void {
    this.#ending = true
    if (this.#queue.length === 0 && !this.#over) this.#socket.shutdown()
  }

  pause(): void {
    if (!this.#over) this.#socket.pause()
  }

  resume(): void {
    if (!this.#over) this.#socket.resume()
  }

  /** Ends both directions in good order; for a connection nobody needs any more. */
  close(): void {
    if (this.#over) return
    this.lost()
    this.#socket.end()
  }

  /** Cuts both directions now: the program notices a failure. */
  destroy(): void {
    if (this.#over) return
    this.lost()
    this.#socket.terminate()
  }

  /** Cuts both directions after what is queued: the program has all that came before, and notices a failure. */
  breakOff(): void {
    this.#breaking = true
    if (this.#queue.length === 0) this.destroy()
  }

  flush(): void {
    while (this.#queue.length > 0) {
      const head = this.#queue[0]!
      const taken = Math.max(0, this.#socket.write(head))
      this.queuedBytes -= taken
      if (taken < head.byteLength) {
        this.#queue[0] = head.subarray(taken)
        return
      }
      this.#queue.shift()
    }
    if (this.#breaking) this.destroy()
    else if (this.#ending) this.#socket.shutdown()
    else this.handlers.drain()
  }

  lost(error?: Error): void {
    if (this.#over) return
    this.#over = true
    this.#queue = []
    this.queuedBytes = 0
    this.handlers.closed(error)
  }
}
