import { AppError, errorText } from "../errors.ts"
import type { RawSocket } from "./dial.ts"
import type { PortForward, PortForwardHandlers } from "./forward.ts"
import {
  controlType,
  encodePing,
  encodeSynStream,
  finFlag,
  frameHeaderBytes,
  SpdyReader,
  writeDataHeader,
} from "./spdy-frames.ts"

/**
 * Data frames we send, in bytes with their header: whole TLS records of 16 KiB. Each frame costs the container runtime several
 * reads, and it keeps one whole frame at a time in memory.
 */
const maxFrameBytes = 128 << 10
const maxErrorBytes = 4_096
const streams = { error: 1, data: 3 }

/**
 * A port-forward over SPDY/3.1, one port: an error stream that we never write to, and a data stream. Ids are ours to choose
 * and odd.
 */
export class SpdyForward implements PortForward {
  readonly #socket: RawSocket
  readonly #what: string
  readonly #reader: SpdyReader
  readonly #opened = Promise.withResolvers<void>()
  /** One frame is put together here: parts of a few bytes must not become packets of their own. */
  readonly #frame = Buffer.allocUnsafeSlow(maxFrameBytes)
  #filled = frameHeaderBytes
  #sendScheduled = false
  #handlers: PortForwardHandlers | undefined
  /** Data that came with the answer, before anybody wanted it. */
  #early: Uint8Array[] = []
  #errorText = ""
  #over = false
  #failure: Error | undefined

  private constructor(socket: RawSocket, what: string) {
    this.#socket = socket
    this.#what = what
    this.#opened.promise.catch(() => {})
    this.#reader = new SpdyReader({
      data: (streamId, piece, fin) => this.#data(streamId, piece, fin),
      control: (type, first, second) => this.#control(type, first, second),
    })
    socket.handlers = {
      data: (chunk) => this.#push(chunk),
      drain: () => {
        this.#handlers?.drain()
        this.#scheduleSend()
      },
      closed: (error) => this.#end(error ?? new Error("the connection was cut")),
    }
  }

  /** @param socket paused. @throws AppError "forward-broken", what `signal` says */
  static async open(
    { socket, rest }: { socket: RawSocket; rest: Uint8Array },
    options: { port: number; what: string; signal: AbortSignal },
  ): Promise<SpdyForward> {
    const forward = new SpdyForward(socket, options.what)
    const headers = (streamtype: string) => ({ streamtype, port: String(options.port), requestid: "0" })
    const error = encodeSynStream(streams.error, headers("error"), { flags: finFlag, isFirst: true })
    const data = encodeSynStream(streams.data, headers("data"), { flags: 0, isFirst: false })
    socket.write(Buffer.concat([error, data]))
    const abort = () => forward.#opened.reject(options.signal.reason)
    if (options.signal.aborted) abort()
    options.signal.addEventListener("abort", abort, { once: true })
    forward.#push(rest)
    socket.resume()
    try {
      // What is sent to a stream before its reply may be thrown away by the container runtime.
      await forward.#opened.promise
      return forward
    } catch (thrown) {
      forward.close()
      throw thrown
    } finally {
      options.signal.removeEventListener("abort", abort)
    }
  }

  attach(handlers: PortForwardHandlers): void {
    this.#handlers = handlers
    const early = this.#early
    this.#early = []
    for (const piece of early) handlers.data(piece)
    // A port nobody listens on is told right after the reply.
    if (this.#over) handlers.closed(this.#failure)
    else this.#socket.resume()
  }

  write(...parts: Uint8Array[]): boolean {
    if (this.#over) return true
    for (const part of parts) {
      for (let at = 0; at < part.byteLength; ) {
        const piece = part.subarray(at, at + maxFrameBytes - this.#filled)
        this.#frame.set(piece, this.#filled)
        at += piece.byteLength
        this.#filled += piece.byteLength
        if (this.#filled === maxFrameBytes) this.#sendFrame()
      }
    }
    this.#scheduleSend()
    return this.writable
  }

  /** What the socket does not take waits with the producer, who need not copy it. */
  get writable(): boolean {
    return this.#over || this.#socket.queuedBytes === 0
  }

  pause(): void {
    this.#socket.pause()
  }

  resume(): void {
    this.#socket.resume()
  }

  close(): void {
    if (this.#over) return
    this.#sendFrame()
    this.#over = true
    this.#socket.end()
    this.#handlers?.closed()
  }

  /** A frame that is not full leaves when nothing more was written in this turn; while the socket is full it waits for more. */
  #scheduleSend(): void {
    if (this.#sendScheduled || this.#filled === frameHeaderBytes) return
    this.#sendScheduled = true
    queueMicrotask(() => {
      this.#sendScheduled = false
      if (this.writable && !this.#over) this.#sendFrame()
    })
  }

  #sendFrame(): void {
    if (this.#filled === frameHeaderBytes) return
    writeDataHeader(this.#frame, streams.data, 0, this.#filled - frameHeaderBytes)
    this.#socket.writeCopy(this.#frame.subarray(0, this.#filled))
    this.#filled = frameHeaderBytes
  }

  #push(chunk: Uint8Array): void {
    if (this.#over) return
    try {
      this.#reader.push(chunk)
    } catch (thrown) {
      this.#end(new AppError("kube-bad-answer", errorText(thrown)))
    }
  }

  #data(streamId: number, piece: Uint8Array, fin: boolean): void {
    if (this.#over) return
    if (streamId === streams.data) {
      if (piece.byteLength > 0) {
        if (this.#handlers) this.#handlers.data(piece)
        else this.#early.push(piece)
      }
      if (fin) this.#end(new Error(this.#errorText.trim() || "the API server closed the forward"))
    } else if (streamId === streams.error) {
      if (this.#errorText.length < maxErrorBytes) this.#errorText += new TextDecoder().decode(piece)
      if (fin && this.#errorText) this.#end(new Error(this.#errorText.trim()))
    }
  }

  #control(type: number, first: number, second: number): void {
    if (this.#over) return
    if (type === controlType.ping) this.#socket.write(encodePing(first))
    else if (type === controlType.synReply && first === streams.data) {
      // Nobody reads yet.
      if (!this.#handlers) this.#socket.pause()
      this.#opened.resolve()
    } else if (type === controlType.rstStream) this.#end(new Error(`stream ${first} was reset with status ${second}`))
    else if (type === controlType.goAway) this.#end(new Error("the API server ended the forward"))
  }

  #end(cause: Error): void {
    if (this.#over) return
    this.#over = true
    this.#socket.end()
    const error = new AppError("forward-broken", `Cannot ${this.#what}: ${cause.message}`, { cause })
    this.#failure = error
    this.#opened.reject(error)
    this.#handlers?.closed(error)
  }
}
