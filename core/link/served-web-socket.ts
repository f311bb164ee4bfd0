import { createHash } from "node:crypto"
import { Socket } from "node:net"
import type { Duplex } from "node:stream"
import { AppError } from "../errors.ts"
import type { Link, LinkEnd } from "../link.ts"
import { joined, Writer } from "../protocol/index.ts"
import { cutIntoFrames } from "./frame-parts.ts"
import { LinkState, overflow } from "./link-state.ts"
import { frameHead, opcode, ServerFrameReader } from "./server-frames.ts"
import { defaultLinkLimits, type LinkLimits, type Side } from "./side.ts"
import { fullWriteBytes, lentPiece, writeRuns } from "./write-runs.ts"

/** RFC 6455, section 7.4.1. */
const goodClose = 1000
const protocolError = 1002
const unsupportedData = 1003
/** Close codes of a peer that ended in good order: normal, going away, and none given. */
const noCode = 1005
const goodCloseCodes: readonly number[] = [goodClose, 1001, noCode]

/** RFC 6455, section 1.3. */
const acceptGuid = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

/** The answer that makes a WebSocket of a stream. @param key of the request, already looked at */
export function switchingProtocols(key: string, subprotocol: string): string {
  const accept = createHash("sha1")
    .update(key + acceptGuid)
    .digest("base64")
  const lines = [
    "HTTP/1.1 101 Switching Protocols",
    "Upgrade: websocket",
    "Connection: Upgrade",
    `Sec-WebSocket-Accept: ${accept}`,
    `Sec-WebSocket-Protocol: ${subprotocol}`,
  ]
  return `${lines.join("\r\n")}\r\n\r\n`
}

/**
 * A link over a stream that has just become a WebSocket, for the side that serves it: one binary message each way is exactly
 * one protocol message. Text messages end the link; pings are answered and never sent.
 *
 * Small messages sent in one turn of the event loop leave in one write, so in as few TLS records as possible; what fills a write
 * leaves at once.
 * @param head what the client has sent already
 */
export function servedWebSocketLink<In, Out>(
  socket: Duplex,
  head: Uint8Array,
  side: Side<In, Out>,
  limits: Partial<LinkLimits> = {},
): Link<In, Out> {
  return new ServedWebSocketLink(socket, head, side, { ...defaultLinkLimits, ...limits })
}

class ServedWebSocketLink<In, Out> implements Link<In, Out> {
  readonly #socket: Duplex
  readonly #isSocket: boolean
  readonly #side: Side<In, Out>
  readonly #limits: LinkLimits
  readonly #state: LinkState<In>
  readonly #reader: ServerFrameReader
  readonly #writer = new Writer()
  /** Frames of this turn of the event loop. */
  #frames: Uint8Array[] = []
  #frameBytes = 0
  #flushScheduled = false
  /** Messages nobody wanted yet. */
  #unread: Uint8Array[] = []
  #peerEnd: LinkEnd | undefined
  #closing = false
  #linger: ReturnType<typeof setTimeout> | undefined

  constructor(socket: Duplex, head: Uint8Array, side: Side<In, Out>, limits: LinkLimits) {
    this.#socket = socket
    this.#isSocket = socket instanceof Socket
    this.#side = side
    this.#limits = limits
    this.#state = new LinkState((readable) => this.#setReading(readable))
    this.#reader = new ServerFrameReader(
      { message: (code, bytes) => this.#message(code, bytes), control: (code, bytes) => this.#control(code, bytes) },
      limits.message.maxMessageBytes,
    )
    socket.pause()
    socket.on("data", (chunk: Uint8Array) => this.#received(chunk))
    socket.pause()
    socket.on("error", (error) => this.#gone({ error: lost(error.message) }))
    const cutOff = () => this.#gone({ error: lost("cut off") })
    socket.on("end", cutOff)
    socket.on("close", cutOff)
    if (head.length > 0) this.#received(head)
    if (socket.destroyed) queueMicrotask(cutOff)
  }

  get ended(): Promise<LinkEnd> {
    return this.#state.ended
  }

  send(message: Out): boolean {
    if (this.#closing || this.#state.over || this.#peerEnd !== undefined) return true
    this.#side.outgoing.encodeInto(this.#writer, message)
    const { pendingBytes } = this.#writer
    for (const { parts, length, isFirst, isLast } of cutIntoFrames(this.#writer.take(), pendingBytes))
      this.#add(isFirst ? opcode.binary : opcode.continuation, length, parts, isLast)
    const waiting = this.#waitingBytes()
    if (waiting > this.#limits.maxQueuedBytes) this.abort(overflow(this.#limits))
    return waiting < this.#limits.highWaterBytes
  }

  async whenWritable(): Promise<void> {
    while (!this.#state.over && this.#peerEnd === undefined && this.#waitingBytes() >= this.#limits.highWaterBytes) {
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
    if (this.#peerEnd !== undefined) {
      this.#finish(this.#peerEnd.error)
      return
    }
    this.#closing = true
    this.#unread = []
    this.#addClose(goodClose)
    // What the peer still sends is read and dropped, until its own close comes.
    this.#socket.resume()
    this.#waitForPeer(this.#waitingBytes())
  }

  abort(error?: Error): void {
    this.#finish(error)
  }

  // ---- reading

  #received(chunk: Uint8Array): void {
    if (this.#state.over || this.#peerEnd !== undefined) return
    try {
      this.#reader.push(chunk)
    } catch (thrown) {
      this.#refuse(protocolError, thrown as Error)
    }
  }

  #message(code: number, bytes: Uint8Array): void {
    if (this.#closing || this.#state.over || this.#peerEnd !== undefined) return
    if (code !== opcode.binary) {
      const why = "A WebSocket text message was received; the protocol has none"
      this.#refuse(unsupportedData, new AppError("link-not-binary", why))
    } else if (this.#state.readable && this.#unread.length === 0) this.#decode(bytes)
    else this.#unread.push(bytes)
  }

  #decode(bytes: Uint8Array): void {
    try {
      this.#state.deliver(this.#side.incoming.decode(bytes, this.#limits.message))
    } catch (thrown) {
      this.#refuse(protocolError, thrown as Error)
    }
  }

  #control(code: number, payload: Uint8Array): void {
    if (this.#state.over || this.#peerEnd !== undefined) return
    if (code === opcode.ping && !this.#closing) this.#add(opcode.pong, payload.length, [payload])
    if (code !== opcode.close) return
    const given = payload.length >= 2 ? (payload[0]! << 8) | payload[1]! : noCode
    if (!this.#closing) this.#addClose(given === noCode ? goodClose : given)
    const isGood = this.#closing || goodCloseCodes.includes(given)
    this.#gone(isGood ? {} : { error: lost(`closed with code ${given}`) })
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

  // ---- writing

  #waitingBytes(): number {
    return this.#frameBytes + this.#socket.writableLength
  }

  #add(code: number, length: number, payload: readonly Uint8Array[], isLast = true): void {
    const head = frameHead(code, length, isLast)
    this.#frames.push(head, ...payload)
    this.#frameBytes += head.length + length
    if (this.#frameBytes >= fullWriteBytes) this.#flush()
    else if (!this.#flushScheduled) {
      this.#flushScheduled = true
      setImmediate(() => this.#flush())
    }
  }

  #addClose(code: number): void {
    this.#add(opcode.close, 2, [Uint8Array.of(code >>> 8, code)])
  }

  #flush(): void {
    this.#flushScheduled = false
    const runs = writeRuns(this.#frames)
    this.#frames = []
    this.#frameBytes = 0
    if (!this.#socket.writable) return
    for (const run of runs) {
      // A socket with nothing to send has copied or sent a piece when it returns; others keep it.
      const lends = this.#isSocket && this.#socket.writableLength === 0
      this.#socket.write(lends ? lentPiece(run) : joined(run), this.#written)
    }
  }

  readonly #written = (): void => {
    if (this.#waitingBytes() < this.#limits.highWaterBytes) this.#state.releaseSenders()
  }

  // ---- the end

  /** What was received before the end is still delivered to a reader that pauses. */
  #gone(end: LinkEnd): void {
    this.#peerEnd ??= this.#closing ? {} : end
    this.#state.releaseSenders()
    if (this.#unread.length === 0 || this.#closing) this.#finish(this.#peerEnd.error)
  }

  /** Ends a link whose peer takes no byte, or does not answer the close, for `lingerMs`. */
  #waitForPeer(waiting: number): void {
    this.#linger = setTimeout(() => {
      const now = this.#waitingBytes()
      if (now < waiting) this.#waitForPeer(now)
      else this.#finish()
    }, this.#limits.lingerMs)
    this.#linger.unref()
  }

  /** Ends the link at once and tells the peer what it did wrong. */
  #refuse(code: number, error: Error): void {
    if (!this.#over(error)) return
    this.#addClose(code)
    this.#leave()
  }

  #finish(error?: Error): void {
    if (!this.#over(error)) return
    // Only who ended in good order may still be owed some bytes, our goodbye among them.
    if (error !== undefined || this.#peerEnd === undefined) {
      this.#frames = []
      this.#socket.destroy()
      return
    }
    this.#leave()
  }

  #over(error: Error | undefined): boolean {
    if (!this.#state.end(error)) return false
    clearTimeout(this.#linger)
    this.#unread = []
    return true
  }

  /** Ends the stream once the peer has what it was sent. */
  #leave(): void {
    this.#flush()
    const late = setTimeout(() => this.#socket.destroy(), this.#limits.lingerMs)
    this.#socket.end(() => {
      clearTimeout(late)
      this.#socket.destroy()
    })
  }
}

function lost(why: string): AppError {
  return new AppError("link-lost", `The connection was lost: ${why}`)
}
