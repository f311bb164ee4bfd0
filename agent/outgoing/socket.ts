import type { Socket, SocketHandler } from "bun"
import { collectReceived } from "../../core/collect-received.ts"
import { errno, LinuxError } from "../../core/linux/errno.ts"
import { syscall } from "../../core/linux/syscall.ts"

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

const MSG_NOSIGNAL = 0x4000
const SHUT_WR = 1
/** struct sockaddr of family AF_UNSPEC: to connect to it breaks a connection off. */
const nowhere = Buffer.alloc(16)

/**
 * A socket of the kernel, served by the event loop. That takes over a connected one only after `start`, once what waits to be sent has
 * left: the client learns first that the connection stands.
 */
export class AdoptedSocket implements OutgoingSocket {
  /** Not in the event loop's hands yet. */
  #fd: number | undefined
  #socket: Socket<AdoptedSocket> | undefined
  #events: SocketEvents | undefined
  /** While the connection is being made. */
  #attempt: PromiseWithResolvers<void> | undefined
  #isPaused = false
  /** Set when the end came before anybody was interested. */
  #closed: { error: Error | undefined } | undefined

  private constructor(fd?: number) {
    this.#fd = fd
  }

  /**
   * Owns `fd`. Resolves when the connection stands, with it paused.
   * @throws LinuxError with what the kernel says about the connection, ETIMEDOUT when it says nothing in time
   */
  static async adopt(fd: number, isConnected: boolean, milliseconds: number): Promise<AdoptedSocket> {
    if (isConnected) return new AdoptedSocket(fd)
    const adopted = new AdoptedSocket()
    const attempt = Promise.withResolvers<void>()
    adopted.#attempt = attempt
    const timer = setTimeout(() => adopted.#giveUp(), milliseconds)
    try {
      adopted.#isPaused = true
      adopted.#takeUp(fd)
      await attempt.promise
      return adopted
    } finally {
      clearTimeout(timer)
      adopted.#attempt = undefined
    }
  }

  start(events: SocketEvents): void {
    this.#events = events
    if (this.#fd !== undefined) setImmediate(() => this.#takeUp(this.#fd))
    else if (this.#closed) events.close(this.#closed.error)
    else this.resume()
  }

  write(chunk: Uint8Array): number {
    // What fails here shows when the event loop has it.
    if (this.#fd !== undefined)
      return Math.max(0, syscall("sendto", this.#fd, chunk, chunk.length, MSG_NOSIGNAL, null, 0))
    return Math.max(0, this.#socket?.write(chunk) ?? 0)
  }

  endWriting(): void {
    if (this.#fd !== undefined) syscall("shutdown", this.#fd, SHUT_WR)
    else this.#socket?.shutdown()
  }

  pause(): void {
    this.#isPaused = true
    this.#socket?.pause()
  }

  resume(): void {
    this.#isPaused = false
    this.#socket?.resume()
  }

  close(): void {
    if (this.#fd !== undefined) this.#closeFd()
    else this.#socket?.close()
  }

  reset(): void {
    if (this.#fd !== undefined) {
      syscall("connect", this.#fd, nowhere, nowhere.length)
      this.#closeFd()
    } else this.#socket?.terminate()
  }

  #closeFd(): void {
    syscall("close", this.#fd!)
    this.#fd = undefined
  }

  #takeUp(fd: number | undefined): void {
    if (fd === undefined) return
    this.#fd = undefined
    // What goes wrong is told to the handlers, too.
    Bun.connect({ fd, allowHalfOpen: true, data: this, socket: AdoptedSocket.#handlers } as never).catch(() => {})
  }

  /** The same for all: an object of functions for each costs more than a connection is worth. */
  static readonly #handlers: SocketHandler<AdoptedSocket> = {
    // Called at once, also for a connection that is still being made: that is there with the first `drain`.
    open: (socket) => {
      socket.data.#socket = socket
      if (socket.data.#isPaused) socket.pause()
    },
    data: ({ data: self }, chunk) => {
      collectReceived(chunk.length)
      self.#events?.data(chunk)
    },
    drain: ({ data: self }) => {
      self.#attempt?.resolve()
      self.#events?.drain()
    },
    end: ({ data: self }) => self.#events?.end(),
    error: ({ data: self }, error) => self.#close(error),
    close: ({ data: self }, error) => self.#close(error),
  }

  #giveUp(): void {
    this.#attempt?.reject(new LinuxError(errno.ETIMEDOUT, "connect"))
    this.#socket?.terminate()
  }

  #close(error: Error | undefined): void {
    if (this.#closed) return
    this.#closed = { error }
    this.#attempt?.reject(connectFailure(error))
    this.#events?.close(error)
  }
}

function connectFailure(error: (Error & { code?: string }) | undefined): LinuxError {
  const number = errno[error?.code as keyof typeof errno] ?? errno.ECONNREFUSED
  return new LinuxError(number, "connect")
}
