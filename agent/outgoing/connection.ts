import { errorText } from "../../core/errors.ts"
import type { Budget } from "./budget.ts"
import type { OutgoingSocket, SocketEvents } from "./socket.ts"

/** A peer that takes nothing for this long while something waits for it is given up. */
const writeMilliseconds = 30_000

export interface ConnectionEvents {
  /** Never empty. */
  data(chunk: Uint8Array): void
  /** The peer sends no more. */
  end(): void
  /** Both directions are over, or the connection broke; nothing comes after it. */
  over(failure: string | undefined): void
}

const unheard: ConnectionEvents = { data() {}, end() {}, over() {} }

/** One outgoing connection: keeps what the peer does not take yet, and knows which directions are still open. */
export class OutgoingConnection implements SocketEvents {
  readonly #socket: OutgoingSocket
  readonly #budget: Budget
  #events: ConnectionEvents
  /** Not taken yet; `#first` is where it begins. */
  #queue: Uint8Array[] = []
  #first = 0
  #queuedBytes = 0
  #stuck: ReturnType<typeof setTimeout> | undefined
  #weEnded = false
  #peerEnded = false
  /** Gives back the room it has since its client has abandoned it. */
  #giveBack: (() => void) | undefined
  #over = false

  constructor(socket: OutgoingSocket, budget: Budget, events: ConnectionEvents) {
    this.#socket = socket
    this.#budget = budget
    this.#events = events
  }

  start(): void {
    this.#socket.start(this)
    if (!this.#over) this.#budget.addSource(this.#socket)
  }

  /** Empty means that no more comes. */
  write(chunk: Uint8Array): void {
    if (this.#over || this.#weEnded) return
    if (chunk.length === 0) {
      this.#weEnded = true
      if (this.#queuedBytes === 0) this.#endWriting()
      return
    }
    const taken = this.#queuedBytes === 0 ? this.#socket.write(chunk) : 0
    if (taken < chunk.length && !this.#over) this.#keep(chunk.subarray(taken))
  }

  /** From now on nobody wants to hear of it; it is to be abandoned soon. */
  silence(): void {
    this.#events = unheard
  }

  /**
   * Ends without a word, once the peer has what was written before: as the kernel does for a program that closes, or is gone. Where too much
   * is left behind already it breaks, so that the peer does not take what it has for all.
   */
  abandon(): void {
    if (this.#queuedBytes === 0) {
      if (this.#finish()) this.#socket.close()
      return
    }
    this.silence()
    this.#giveBack ??= this.#budget.leftovers.keep(this.#queuedBytes)
    if (!this.#giveBack) {
      this.#fail(undefined)
      return
    }
    // Bytes nobody reads would turn the end into a reset, which overtakes what waits.
    this.#budget.removeSource(this.#socket)
    this.#socket.resume()
  }

  // ---- from the socket

  data(chunk: Uint8Array): void {
    if (!this.#over && chunk.length > 0) this.#events.data(chunk)
  }

  drain(): void {
    if (this.#over || this.#queuedBytes === 0) return
    const before = this.#queuedBytes
    while (this.#first < this.#queue.length) {
      const chunk = this.#queue[this.#first]!
      const taken = this.#socket.write(chunk)
      this.#queuedBytes -= taken
      if (taken < chunk.length) {
        this.#queue[this.#first] = chunk.subarray(taken)
        break
      }
      this.#first++
    }
    this.#budget.waiting(this.#queuedBytes - before)
    this.#afterDrain(this.#queuedBytes < before)
  }

  end(): void {
    if (this.#over || this.#peerEnded) return
    this.#peerEnded = true
    this.#events.end()
    this.#finishWhenBothEnded()
  }

  /** Without an error it is the peer's end, told in one once both directions are over. */
  close(error: Error | undefined): void {
    if (!error) this.end()
    this.#fail(error && errorText(error))
  }

  /** For the client this connection is over, as with mirrord's agents: its next datagram makes a new one. */
  refused(): void {
    if (!this.#finish()) return
    this.#events.over(undefined)
    this.#socket.close()
  }

  // ---- inside

  /** A small piece of a large chunk would keep the whole of it in memory. */
  #keep(piece: Uint8Array): void {
    this.#queue.push(piece.buffer.byteLength > 2 * piece.length ? piece.slice() : piece)
    this.#queuedBytes += piece.length
    this.#budget.waiting(piece.length)
    if (!this.#stuck) this.#watch()
  }

  #afterDrain(hasMoved: boolean): void {
    if (hasMoved) this.#watch()
    if (this.#queuedBytes > 0) {
      // Bytes that are gone must not stay referenced for as long as the queue never gets empty.
      if (this.#first > 64) this.#queue = this.#queue.slice(this.#first)
      if (this.#first > 64) this.#first = 0
      return
    }
    this.#queue = []
    this.#first = 0
    if (this.#giveBack) this.abandon()
    else if (this.#weEnded) this.#endWriting()
  }

  #endWriting(): void {
    this.#socket.endWriting()
    this.#finishWhenBothEnded()
  }

  #finishWhenBothEnded(): void {
    if (!this.#weEnded || this.#queuedBytes > 0 || !this.#peerEnded) return
    if (!this.#finish()) return
    this.#events.over(undefined)
    this.#socket.close()
  }

  #watch(): void {
    clearTimeout(this.#stuck)
    this.#stuck = undefined
    if (this.#queuedBytes > 0) this.#stuck = setTimeout(() => this.#fail("the peer takes no data"), writeMilliseconds)
  }

  #fail(failure: string | undefined): void {
    if (!this.#finish()) return
    this.#events.over(failure)
    this.#socket.reset()
  }

  /** False when it was over before. */
  #finish(): boolean {
    if (this.#over) return false
    this.#over = true
    clearTimeout(this.#stuck)
    this.#budget.removeSource(this.#socket)
    this.#budget.waiting(-this.#queuedBytes)
    this.#queue = []
    this.#queuedBytes = 0
    this.#giveBack?.()
    return true
  }
}
