import type { TcpEvents, TcpSocket } from "../../../core/interceptor.ts"
import { Outlet } from "../outlet.ts"
import type { End } from "../pass-through.ts"
import { AddedFields } from "./added-fields.ts"
import { type CallerSide, frameSize } from "./caller-side.ts"
import {
  encodeFrame,
  encodeHeaders,
  type Frame,
  FrameReader,
  flags,
  frameTypes,
  initialWindow,
  maxWindow,
  windowUpdate,
} from "./frames.ts"
import type { HeaderBlock } from "./header-block.ts"
import { encodeStateless, type HeaderField } from "./hpack.ts"
import { NoApplication } from "./no-application.ts"

export interface ApplicationListener {
  /** Settings the caller must obey. */
  onSettings(payload: Buffer): void
  /** Highest number of a stream that was claimed: the caller must not take it for refused. */
  lastClaimed(): number
  /** So much of what the caller was lent is not lent any more. */
  onRepaid(bytes: number): void
  /** What was passed has gone out. */
  onDrain(): void
  onEnd(): void
  onClose(error?: Error): void
}

/** The application's side of an HTTP/2 connection: what is passed to it, and its frames on the way to the caller. */
export class ApplicationSide {
  readonly #caller: CallerSide
  readonly #listener: ApplicationListener
  readonly #reader = new FrameReader()
  readonly #added = new AddedFields()
  #socket: TcpSocket | undefined
  #outlet: Outlet | undefined
  #standIn: NoApplication | undefined
  #hasGreeted = false
  #out: Uint8Array[] = []
  /** What it takes on the connection before it says more. */
  #window = initialWindow
  /** The caller may send more than that, and is not to hear of so much when the application takes it. */
  #mayBeTooMuch = false
  #lentBytes = 0
  /** Frames it has no window for, and those behind them. */
  #waiting: { bytes: number; pass(): void }[] = []
  /** It has not seen all header blocks, so the caller's own would be misread by it. */
  #isBehind = false

  constructor(caller: CallerSide, listener: ApplicationListener) {
    this.#caller = caller
    this.#listener = listener
  }

  readonly #events: TcpEvents = {
    onData: (bytes) => this.#onData(bytes),
    onDrain: () => {
      if (this.#outlet?.onDrain()) this.#listener.onDrain()
    },
    onEnd: () => this.#listener.onEnd(),
    onClose: (error) => {
      this.#outlet?.closed()
      this.#socket = undefined
      this.#outlet = undefined
      this.#listener.onClose(error)
    },
  }

  connect(open: (events: TcpEvents) => TcpSocket): void {
    try {
      this.#socket = open(this.#events)
      this.#outlet = new Outlet(this.#socket)
    } catch {
      this.standIn()
    }
  }

  /** Goes on with a connection that was HTTP/1.1. */
  continueWith({ socket, outlet }: End): void {
    this.#socket = socket
    this.#outlet = outlet
    socket.data = this.#events
    socket.resume()
  }

  get isOpen(): boolean {
    return this.#socket !== undefined
  }

  /** It has been given everything the caller sent. */
  get isUpToDate(): boolean {
    return this.isOpen && !this.#isBehind && this.#waiting.length === 0
  }

  // ---- to the application; nothing leaves before `flush`

  pass(frame: Frame): void {
    const bytes = frame.type === frameTypes.data ? frame.payload.length : 0
    if (frame.lent) this.#lentBytes += bytes
    if (frame.stream !== 0 && this.#mustWait(bytes)) this.#waiting.push({ bytes, pass: () => this.#passNow(frame) })
    else this.#passNow(frame)
  }

  /** `added`: what its answer is to carry besides. */
  passBlock(block: HeaderBlock, fields: readonly HeaderField[], added: readonly HeaderField[] = []): void {
    if (this.#mustWait(0)) this.#waiting.push({ bytes: 0, pass: () => this.#passBlockNow(block, fields, added) })
    else this.#passBlockNow(block, fields, added)
  }

  /** From now on the caller is lent what the application does not know of. */
  expectMore(): void {
    this.#mayBeTooMuch = true
  }

  #mustWait(bytes: number): boolean {
    return this.#waiting.length > 0 || (this.#mayBeTooMuch && bytes > this.#window)
  }

  #passNow(frame: Frame): void {
    if (frame.type === frameTypes.resetStream) this.#added.forget(frame.stream)
    if (this.#standIn) {
      if (frame.lent) this.#repay(frame.payload.length)
      else this.#caller.put(this.#standIn.answer(frame))
      return
    }
    if (frame.type === frameTypes.data) this.#window -= frame.payload.length
    this.#out.push(frame.bytes)
  }

  #passBlockNow(block: HeaderBlock, fields: readonly HeaderField[], added: readonly HeaderField[]): void {
    if (added.length > 0) this.#added.add(block.stream, added)
    if (this.#standIn) this.#caller.put(this.#standIn.answerRequest(block.stream))
    else if (this.#isBehind) {
      this.#out.push(encodeHeaders(block.stream, encodeStateless(fields), block.endStream, frameSize))
    } else for (const { bytes } of block.frames) this.#out.push(bytes)
  }

  passBytes(bytes: Uint8Array): void {
    this.#out.push(bytes)
  }

  /** A header block was not for it. */
  withhold(): void {
    this.#isBehind = true
  }

  /** False: something waits until `onDrain`. */
  flush(): boolean {
    if (this.#out.length === 0) return true
    const out = this.#out.splice(0)
    return this.#outlet?.writeAll(out) ?? true
  }

  end(): void {
    if (this.#waiting.length > 0) this.#waiting.push({ bytes: 0, pass: () => this.#endNow() })
    else this.#endNow()
  }

  #endNow(): void {
    this.flush()
    this.#outlet?.end()
  }

  reset(): void {
    this.#outlet?.reset()
  }

  resume(): void {
    this.#socket?.resume()
  }

  /** Somebody must answer in its place; greets the caller, unless the application has. */
  standIn(): void {
    this.#standIn = new NoApplication()
    this.#window = Number.POSITIVE_INFINITY
    this.#passWaiting()
    if (!this.#hasGreeted) this.#caller.forwardBytes(this.#standIn.greeting())
    this.#hasGreeted = true
    this.#caller.openForOthers()
    this.#caller.flush()
  }

  /** It says nothing, and those who answer claimed streams shall not wait for it. False: it has greeted, or nobody is there. */
  greetInItsPlace(): boolean {
    if (this.#hasGreeted) return false
    this.#hasGreeted = true
    this.#caller.forwardBytes(new NoApplication().greeting())
    this.#caller.openForOthers()
    this.#caller.flush()
    return true
  }

  // ---- from the application

  #onData(bytes: Buffer): void {
    this.#hasGreeted = true
    for (const frame of this.#reader.feed(bytes)) this.#onFrame(frame)
    if (this.#reader.broken) this.#caller.forwardBytes(this.#reader.takeRest())
    if (!this.#caller.flush()) this.#socket?.pause()
  }

  #onFrame(frame: Frame): void {
    if (frame.type === frameTypes.settings && !(frame.flags & flags.ack)) this.#listener.onSettings(frame.payload)
    if (frame.type === frameTypes.goAway) {
      this.#caller.openForOthers()
      this.#caller.forwardBytes(this.#withClaims(frame))
    } else if (frame.type === frameTypes.windowUpdate && frame.stream === 0) this.#onWindow(frame)
    else if (this.#added.isEmpty) this.#caller.forward(frame)
    else for (const each of this.#added.into(frame)) this.#caller.forward(each)
  }

  /** What the caller was lent for these bytes it does not get again. */
  #onWindow(frame: Frame): void {
    const bytes = frame.payload.length === 4 ? frame.payload.readUInt32BE(0) & maxWindow : 0
    const repaid = this.#repay(bytes)
    this.#window += bytes
    this.#passWaiting()
    if (repaid === 0) this.#caller.forward(frame)
    else if (bytes > repaid) this.#caller.forward({ ...frame, bytes: windowUpdate(0, bytes - repaid) })
  }

  #repay(bytes: number): number {
    const repaid = Math.min(this.#lentBytes, bytes)
    this.#lentBytes -= repaid
    this.#listener.onRepaid(repaid)
    return repaid
  }

  #passWaiting(): void {
    while (this.#waiting.length > 0 && this.#waiting[0]!.bytes <= this.#window) this.#waiting.shift()!.pass()
    this.flush()
  }

  /** Claimed streams are being served, whatever the application has seen of them. */
  #withClaims(frame: Frame): Buffer {
    const last = frame.payload.length >= 8 ? frame.payload.readUInt32BE(0) & maxWindow : maxWindow
    const lastClaimed = this.#listener.lastClaimed()
    if (last >= lastClaimed) return frame.bytes
    const changed = Buffer.from(frame.payload)
    changed.writeUInt32BE(lastClaimed, 0)
    return encodeFrame(frameTypes.goAway, frame.flags, 0, changed)
  }
}
