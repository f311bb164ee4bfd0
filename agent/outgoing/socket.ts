import type { Socket } from "bun"
import { errno, LinuxError } from "../../core/linux/errno.ts"

export interface SocketEvents {
  data(chunk: Uint8Array): void
  /** The kernel takes bytes again. */
  drain(): void
  /** The peer sends no more. */
  end(): void
  /** Nobody takes datagrams there; the next one may go through. */
  refused?(): void
  /** Both directions are over. */
  close(error: Error | undefined): void
}

/** An outgoing connection, stream or packets. It is paused until `start`. */
export interface OutgoingSocket {
  start(events: SocketEvents): void
  /** Bytes taken: all, some, or none; of a packet all or none. */
  write(chunk: Uint8Array): number
  /** Half close. */
  endWriting(): void
  pause(): void
  resume(): void
  /** Ends both directions; what the kernel has taken still goes out. */
  close(): void
  /** Ends now; the peer sees a reset. */
  reset(): void
}

/** A connected (or connecting) socket of the kernel, served by the event loop from now on. */
export class AdoptedSocket implements OutgoingSocket {
  #socket: Socket<undefined> | undefined
  #events: SocketEvents | undefined
  readonly #connected = Promise.withResolvers<void>()
  /** Set when the end came before anybody was interested. */
  #closed: { error: Error | undefined } | undefined

  /**
   * Owns `fd`. Resolves when the connection stands, with it paused.
   * @throws LinuxError with what the kernel says about the connection, ETIMEDOUT when it says nothing in time
   */
  static async adopt(fd: number, isConnected: boolean, milliseconds: number): Promise<AdoptedSocket> {
    const adopted = new AdoptedSocket()
    const timer = setTimeout(() => adopted.#giveUp(), milliseconds)
    try {
      const socket = adopted.#handlers(isConnected)
      // What goes wrong is told to the handlers, too.
      Bun.connect({ fd, allowHalfOpen: true, data: undefined, socket } as never).catch(() => {})
      await adopted.#connected.promise
      return adopted
    } finally {
      clearTimeout(timer)
    }
  }

  start(events: SocketEvents): void {
    this.#events = events
    if (this.#closed) events.close(this.#closed.error)
    else this.resume()
  }

  write(chunk: Uint8Array): number {
    return Math.max(0, this.#socket?.write(chunk) ?? 0)
  }

  endWriting(): void {
    this.#socket?.shutdown()
  }

  pause(): void {
    this.#socket?.pause()
  }

  resume(): void {
    this.#socket?.resume()
  }

  close(): void {
    this.#socket?.close()
  }

  reset(): void {
    this.#socket?.terminate()
  }

  #handlers(isConnected: boolean) {
    const connected = this.#connected
    return {
      open: (socket: Socket<undefined>) => {
        this.#socket = socket
        socket.pause()
        // Bun calls this at once; a connection that is still being made is there with the first `drain`.
        if (isConnected) connected.resolve()
      },
      data: (_: unknown, chunk: Uint8Array) => this.#events?.data(chunk),
      drain: () => {
        connected.resolve()
        this.#events?.drain()
      },
      end: () => this.#events?.end(),
      error: (_: unknown, error: Error) => this.#close(error),
      close: (_: unknown, error?: Error) => this.#close(error),
    }
  }

  #giveUp(): void {
    this.#connected.reject(new LinuxError(errno.ETIMEDOUT, "connect"))
    this.#socket?.terminate()
  }

  #close(error: Error | undefined): void {
    if (this.#closed) return
    this.#closed = { error }
    this.#connected.reject(connectFailure(error))
    this.#events?.close(error)
  }
}

function connectFailure(error: (Error & { code?: string }) | undefined): LinuxError {
  const number = errno[error?.code as keyof typeof errno] ?? errno.ECONNREFUSED
  return new LinuxError(number, "connect")
}
