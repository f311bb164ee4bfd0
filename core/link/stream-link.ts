import { AppError } from "../errors.ts"
import type { Link, LinkEnd } from "../link.ts"
import { joined, MessageDecoder, Writer } from "../protocol/index.ts"
import { cutOff, LinkState, overflow } from "./link-state.ts"
import { defaultLinkLimits, type LinkLimits, type Side } from "./side.ts"
import { fullWriteBytes, lentPiece, writeRuns } from "./write-runs.ts"

/** What a stream link needs of whatever moves bytes. It starts paused. */
export interface Carrier {
  /** Bytes taken, 0 to all; after fewer than all `StreamLink.drained` must follow. */
  write(chunk: Uint8Array): number
  /** What `write` takes is copied or sent when it returns. Without this the chunk is not changed later. */
  readonly keepsNothing?: boolean
  pause(): void
  resume(): void
  /** Everything is written: tells the peer so (half close). */
  end(): void
  /** Gives the carrier back; `abortive` when the peer is to notice. Called once. */
  destroy(abortive: boolean): void
}

/**
 * A link over a byte stream: messages back to back. The carrier's owner calls `received`, `drained`, `peerEnded` and
 * `failed`. Small messages sent in one turn of the event loop leave in one write; what fills a write leaves at once, so that a
 * queue that grows means a peer that is slow.
 */
export class StreamLink<In, Out> implements Link<In, Out> {
  readonly #carrier: Carrier
  readonly #side: Side<In, Out>
  readonly #limits: LinkLimits
  readonly #state: LinkState<In>
  readonly #decoder: MessageDecoder<In>
  readonly #writer = new Writer()
  /** Encoded, not yet taken by the carrier: runs of chunks, each for one write. */
  #queue: Uint8Array[][] = []
  #queuedBytes = 0
  #blocked = false
  sentBytes = 0
  #flushScheduled = false
  /** Chunks the carrier delivered although it was paused. */
  #unread: Uint8Array[] = []
  #peerEnded = false
  #closing = false
  #endSent = false
  /** Nothing can be written any more, though what was received may still wait for its reader. */
  #deaf = false
  #linger: ReturnType<typeof setTimeout> | undefined

  constructor(carrier: Carrier, side: Side<In, Out>, limits: Partial<LinkLimits> = {}) {
    this.#carrier = carrier
    this.#side = side
    this.#limits = { ...defaultLinkLimits, ...limits }
    this.#decoder = new MessageDecoder(side.incoming, this.#limits.message, side.divide)
    this.#state = new LinkState((readable) => this.#setReading(readable))
  }

  get ended(): Promise<LinkEnd> {
    return this.#state.ended
  }

  send(message: Out): boolean {
    if (this.#closing || this.#deaf || this.#state.over) return true
    const before = this.#writer.pendingBytes
    this.#side.outgoing.encodeInto(this.#writer, message)
    this.sentBytes += this.#writer.pendingBytes - before
    if (this.#waitingBytes() > this.#limits.maxQueuedBytes) this.abort(overflow(this.#limits))
    if (this.#writer.pendingBytes >= fullWriteBytes) this.#flush()
    else this.#scheduleFlush()
    return this.#waitingBytes() < this.#limits.highWaterBytes
  }

  async whenWritable(): Promise<void> {
    while (!this.#state.over && this.#waitingBytes() >= this.#limits.highWaterBytes) await this.#state.waitForRoom()
  }

  receive(handler: (message: In) => void): void {
    this.#state.receive(handler)
  }

  pause(): void {
    this.#state.pause()
  }

  resume(): void {
    this.#state.resume()
  }

  close(): void {
    if (this.#closing || this.#state.over) return
    this.#closing = true
    // What the peer still sends is read and dropped: unread bytes would turn our end into a reset that overtakes data.
    this.#unread = []
    this.#carrier.resume()
    this.#waitForPeer()
    this.#flush()
  }

  abort(error?: Error): void {
    this.#finish(error)
  }

  // ---- called by the carrier's owner

  received(chunk: Uint8Array): void {
    if (this.#closing || this.#state.over) return
    if (this.#state.readable && this.#unread.length === 0) this.#decode(chunk)
    else this.#unread.push(chunk)
  }

  drained(): void {
    if (this.#state.over) return
    this.#blocked = false
    if (this.#closing) this.#waitForPeer()
    this.#flush()
  }

  peerEnded(): void {
    this.#peerEnded = true
    if (this.#closing) {
      if (this.#endSent) this.#finish()
    } else if (this.#unread.length === 0) this.#finish(this.#decoder.isBetweenMessages ? undefined : cutOff())
  }

  /** The carrier is gone in both directions. */
  failed(error?: Error): void {
    if (error !== undefined) {
      this.#finish(new AppError("link-lost", `The connection was lost: ${error.message}`, { cause: error }))
      return
    }
    this.#deaf = true
    this.#endSent = true
    this.#dropQueue()
    this.#state.releaseSenders()
    this.peerEnded()
  }

  // ---- reading

  #setReading(readable: boolean): void {
    if (this.#closing || this.#state.over) return
    if (!readable) this.#carrier.pause()
    else if (this.#unread.length === 0) this.#carrier.resume()
    else queueMicrotask(() => this.#readOn())
  }

  #readOn(): void {
    while (this.#unread.length > 0 && this.#state.readable && !this.#state.over) this.#decode(this.#unread.shift()!)
    if (this.#state.over || !this.#state.readable) return
    if (this.#peerEnded) this.peerEnded()
    else this.#carrier.resume()
  }

  #decode(chunk: Uint8Array): void {
    try {
      this.#decoder.push(chunk, this.#state.deliver)
    } catch (thrown) {
      this.#finish(thrown as Error)
    }
  }

  // ---- writing

  #waitingBytes(): number {
    return this.#queuedBytes + this.#writer.pendingBytes
  }

  #scheduleFlush(): void {
    if (this.#flushScheduled || this.#blocked) return
    this.#flushScheduled = true
    setImmediate(() => {
      this.#flushScheduled = false
      if (!this.#state.over) this.#flush()
    })
  }

  #flush(): void {
    while (!this.#blocked && this.#waitingBytes() > 0) {
      if (this.#queue.length === 0) this.#refill()
      this.#writeQueue()
      if (this.#state.over) return
    }
    if (this.#waitingBytes() < this.#limits.highWaterBytes) this.#state.releaseSenders()
    if (this.#closing && this.#waitingBytes() === 0) this.#sendEnd()
  }

  #sendEnd(): void {
    if (this.#endSent) return
    this.#endSent = true
    this.#carrier.end()
    if (this.#peerEnded) this.#finish()
  }

  #refill(): void {
    this.#queuedBytes = this.#writer.pendingBytes
    this.#queue = writeRuns(this.#writer.take())
  }

  #writeQueue(): void {
    const { keepsNothing } = this.#carrier
    let written = 0
    for (const run of this.#queue) {
      const piece = keepsNothing ? lentPiece(run) : joined(run)
      const taken = this.#carrier.write(piece)
      this.#queuedBytes -= taken
      written++
      if (taken < piece.length) {
        const rest = piece.subarray(taken)
        const isLent = keepsNothing && run.length > 1
        // What waits is joined: its chunks may be small parts of what was received, and would keep all of that.
        const waiting = this.#queue.slice(written).map((later) => [joined(later)])
        this.#queue = [[isLent ? rest.slice() : rest], ...waiting]
        this.#blocked = true
        return
      }
    }
    this.#queue = []
  }

  // ---- the end

  #waitForPeer(): void {
    clearTimeout(this.#linger)
    this.#linger = setTimeout(() => this.#finish(), this.#limits.lingerMs)
    this.#linger.unref()
  }

  #finish(error?: Error): void {
    if (!this.#state.end(error)) return
    clearTimeout(this.#linger)
    const abortive = error !== undefined || this.#waitingBytes() > 0 || !this.#peerEnded
    this.#dropQueue()
    this.#unread = []
    this.#carrier.destroy(abortive)
  }

  #dropQueue(): void {
    this.#queue = []
    this.#queuedBytes = 0
    this.#writer.take()
  }
}
