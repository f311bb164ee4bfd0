import type { TcpSocket } from "../../core/interceptor.ts"

/** Something bytes wait in for a peer that reads slowly. */
export interface Waiting {
  readonly queuedBytes: number
  /** When the peer last took something, in milliseconds of `performance.now()`. */
  readonly lastProgress: number
  /** Gives the peer up. */
  reset(): void
}

/** Who wants to know how many bytes wait, to stop whoever sends them. */
export interface Budget {
  /** `bytes` more (or fewer) are waiting. */
  changed(bytes: number, where: Waiting): void
}

/** When nobody is left who sends, a peer that takes nothing of what waits for so long is given up, in milliseconds. */
const finishMilliseconds = 30_000

/** The sending side of a socket: keeps what the kernel does not take, in order, and ends it after that. */
export class Outlet implements Waiting {
  readonly #socket: TcpSocket
  #budget: Budget | undefined
  #queue: Uint8Array[] = []
  #queuedBytes = 0
  #ending = false
  #finishing = false
  #dead = false
  #stuck: ReturnType<typeof setTimeout> | undefined
  lastProgress = 0

  constructor(socket: TcpSocket, budget?: Budget) {
    this.#socket = socket
    this.#budget = budget
  }

  get queuedBytes(): number {
    return this.#queuedBytes
  }

  /** From now on somebody else fills this outlet; what waits counts as theirs. */
  chargeTo(budget: Budget | undefined): void {
    if (budget === this.#budget) return
    const waiting = this.#queuedBytes
    this.#queuedBytes = 0
    if (waiting > 0) this.#budget?.changed(-waiting, this)
    this.#queuedBytes = waiting
    this.#budget = budget
    if (waiting > 0) budget?.changed(waiting, this)
  }

  /** False: something waits; stop the source until `onDrain` returns true. The bytes are kept, not copied. */
  write(bytes: Uint8Array): boolean {
    if (this.#dead || this.#ending || this.#finishing) return true
    if (this.#queue.length > 0) {
      this.#enqueue(bytes)
      return false
    }
    const taken = Math.max(0, this.#socket.write(bytes))
    if (taken === bytes.length) return true
    this.lastProgress = performance.now()
    this.#enqueue(taken === 0 ? bytes : bytes.subarray(taken))
    return false
  }

  /** Several pieces in one write to the kernel. */
  writeAll(pieces: readonly Uint8Array[]): boolean {
    return pieces.length === 1 ? this.write(pieces[0]!) : this.write(Buffer.concat(pieces))
  }

  /** Half close, after everything that waits. */
  end(): void {
    if (this.#dead || this.#ending) return
    this.#ending = true
    if (this.#queue.length === 0) this.#socket.shutdown()
  }

  /** Ends both directions, after everything that waits: nobody is left to take what the peer still sends. */
  finish(): void {
    if (this.#dead) return
    this.#finishing = true
    if (this.#queue.length === 0) this.#socket.end()
    else this.#watch()
  }

  /** To be called on the socket's drain event. True: nothing waits any more. */
  onDrain(): boolean {
    while (this.#queue.length > 0) {
      const bytes = this.#queue[0]!
      const taken = Math.max(0, this.#socket.write(bytes))
      if (taken > 0) this.#took(taken)
      if (taken < bytes.length) {
        this.#queue[0] = bytes.subarray(taken)
        return false
      }
      this.#queue.shift()
    }
    clearTimeout(this.#stuck)
    if (this.#finishing && !this.#dead) this.#socket.end()
    else if (this.#ending && !this.#dead) this.#socket.shutdown()
    return true
  }

  /** Ends the connection at once; the peer sees a reset. */
  reset(): void {
    if (this.#dead) return
    this.closed()
    this.#socket.terminate()
  }

  /** To be called when the socket is gone. */
  closed(): void {
    this.#dead = true
    clearTimeout(this.#stuck)
    this.#queue = []
    if (this.#queuedBytes > 0) this.#took(this.#queuedBytes)
  }

  #enqueue(bytes: Uint8Array): void {
    this.#queue.push(bytes)
    this.#queuedBytes += bytes.length
    this.#budget?.changed(bytes.length, this)
  }

  #watch(): void {
    clearTimeout(this.#stuck)
    this.#stuck = setTimeout(() => this.reset(), finishMilliseconds)
  }

  #took(bytes: number): void {
    this.lastProgress = performance.now()
    if (this.#finishing && !this.#dead) this.#watch()
    this.#queuedBytes -= bytes
    this.#budget?.changed(-bytes, this)
  }
}
