import { AppError } from "../errors.ts"
import type { Link, LinkEnd } from "../link.ts"
import { joined, Writer } from "../protocol/index.ts"
import { LinkState, overflow } from "./link-state.ts"
import { defaultLinkLimits, type LinkLimits, type Side } from "./side.ts"

/** What is needed of a WebSocket; Bun's own and those of `ws` both fit. It must be open, with `binaryType` still free. */
export interface WebSocketLike {
  binaryType: string
  readonly bufferedAmount: number
  readonly readyState: number
  send(data: Uint8Array): void
  /** One message of all the parts, for one that need not have them joined. */
  sendParts?(parts: readonly Uint8Array[]): void
  /** Present on one that tells when its buffer has emptied; others are asked now and then. */
  ondrain?: (() => void) | null
  close(code?: number, reason?: string): void
  terminate(): void
  pause(): void
  resume(): void
  onmessage: ((event: never) => void) | null
  onclose: ((event: never) => void) | null
  onerror: ((event: never) => void) | null
}

/** Neither Bun's nor the library's WebSocket tells when its buffer has emptied, so a full one is looked at this often, in milliseconds. */
const drainPollMs = 4
const openState = 1
/** Close codes of a peer that ended in good order: normal, going away, and none given. */
const goodCloseCodes: readonly number[] = [1000, 1001, 1005]

/**
 * A link over an open WebSocket: one binary message each way is exactly one protocol message. Text messages end the
 * link; WebSocket pings are never sent, mirrord takes them for an error.
 */
export function webSocketLink<In, Out>(
  socket: WebSocketLike,
  side: Side<In, Out>,
  limits: Partial<LinkLimits> = {},
): Link<In, Out> {
  return new WebSocketLink(socket, side, { ...defaultLinkLimits, ...limits })
}

class WebSocketLink<In, Out> implements Link<In, Out> {
  readonly #socket: WebSocketLike
  readonly #side: Side<In, Out>
  readonly #limits: LinkLimits
  readonly #state: LinkState<In>
  readonly #writer = new Writer()
  sentBytes = 0
  /** Messages that arrived before anybody wanted them; a paused WebSocket may still deliver some. */
  #unread: Uint8Array[] = []
  #peerEnd: LinkEnd | undefined
  #closing = false
  #poll: ReturnType<typeof setTimeout> | undefined
  #linger: ReturnType<typeof setTimeout> | undefined

  constructor(socket: WebSocketLike, side: Side<In, Out>, limits: LinkLimits) {
    this.#socket = socket
    this.#side = side
    this.#limits = limits
    this.#state = new LinkState((readable) => this.#setReading(readable))
    socket.binaryType = "arraybuffer"
    socket.onmessage = (event: { data: unknown }) => this.#received(event.data)
    socket.onclose = (event: { code: number; reason: string }) => this.#closed(event.code, event.reason)
    if (socket.ondrain !== undefined) socket.ondrain = () => this.#state.releaseSenders()
    socket.onerror = (event: { message?: string }) => this.#fail(event.message ?? "the WebSocket failed")
    socket.pause()
    if (socket.readyState !== openState) queueMicrotask(() => this.#closed(1006, ""))
  }

  get ended(): Promise<LinkEnd> {
    return this.#state.ended
  }

  send(message: Out): boolean {
    if (this.#closing || this.#state.over || this.#peerEnd !== undefined) return true
    this.#side.outgoing.encodeInto(this.#writer, message)
    this.sentBytes += this.#writer.pendingBytes
    const parts = this.#writer.take()
    if (this.#socket.sendParts) this.#socket.sendParts(parts)
    else this.#socket.send(joined(parts))
    const waiting = this.#socket.bufferedAmount
    if (waiting > this.#limits.maxQueuedBytes) this.abort(overflow(this.#limits))
    return waiting < this.#limits.highWaterBytes
  }

  async whenWritable(): Promise<void> {
    while (
      !this.#state.over &&
      this.#peerEnd === undefined &&
      this.#socket.bufferedAmount >= this.#limits.highWaterBytes
    ) {
      if (this.#socket.ondrain === undefined) {
        this.#poll ??= setTimeout(() => {
          this.#poll = undefined
          this.#state.releaseSenders()
        }, drainPollMs)
      }
      await this.#state.waitForRoom()
    }
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
    this.#unread = []
    this.#socket.resume()
    this.#socket.close(1000)
    if (this.#peerEnd !== undefined) this.#finish(this.#peerEnd.error)
    else this.#waitForPeer(this.#socket.bufferedAmount)
  }

  abort(error?: Error): void {
    this.#finish(error)
  }

  // ---- reading

  #received(data: unknown): void {
    if (this.#closing || this.#state.over) return
    if (!(data instanceof ArrayBuffer || data instanceof Uint8Array)) {
      this.#finish(new AppError("link-not-binary", "A WebSocket text message was received; the protocol has none"))
      return
    }
    const bytes = data instanceof Uint8Array ? data : new Uint8Array(data)
    if (this.#state.readable && this.#unread.length === 0) this.#decode(bytes)
    else this.#unread.push(bytes)
  }

  #decode(bytes: Uint8Array): void {
    try {
      this.#state.deliver(this.#side.incoming.decode(bytes, this.#limits.message))
    } catch (thrown) {
      this.#finish(thrown as Error)
    }
  }

  #setReading(readable: boolean): void {
    if (this.#closing || this.#state.over) return
    if (!readable) this.#socket.pause()
    else if (this.#unread.length === 0 && this.#peerEnd === undefined) this.#socket.resume()
    else queueMicrotask(() => this.#readOn())
  }

  #readOn(): void {
    while (this.#unread.length > 0 && this.#state.readable && !this.#state.over) this.#decode(this.#unread.shift()!)
    if (this.#state.over || !this.#state.readable) return
    if (this.#peerEnd !== undefined) this.#finish(this.#peerEnd.error)
    else this.#socket.resume()
  }

  // ---- the end

  #closed(code: number, reason: string): void {
    const good = this.#closing || goodCloseCodes.includes(code)
    this.#gone(good ? {} : { error: lost(`closed with code ${code}${reason === "" ? "" : ` (${reason})`}`) })
  }

  #fail(message: string): void {
    this.#gone({ error: lost(message) })
  }

  /** What was received before the end is still delivered to a reader that pauses. */
  #gone(end: LinkEnd): void {
    this.#peerEnd ??= end
    this.#state.releaseSenders()
    if (this.#unread.length === 0 || this.#closing) this.#finish(this.#peerEnd.error)
  }

  /** Ends a link whose peer takes no byte, or does not answer the close, for `lingerMs`. */
  #waitForPeer(buffered: number): void {
    this.#linger = setTimeout(() => {
      const now = this.#socket.bufferedAmount
      if (now < buffered) this.#waitForPeer(now)
      else this.#finish()
    }, this.#limits.lingerMs)
    this.#linger.unref()
  }

  #finish(error?: Error): void {
    if (!this.#state.end(error)) return
    clearTimeout(this.#poll)
    clearTimeout(this.#linger)
    this.#unread = []
    this.#socket.terminate()
  }
}

function lost(why: string): AppError {
  return new AppError("link-lost", `The connection was lost: ${why}`)
}
