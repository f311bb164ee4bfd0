import type { TcpSocket } from "../../../core/interceptor.ts"
import { chooseSubscription } from "../choose.ts"
import type { HttpParts, IncomingConnection, Service } from "../connection.ts"
import type { IncomingSettings } from "../incoming-settings.ts"
import type { Outlet } from "../outlet.ts"
import type { FilteredSubscription, Port } from "../port.ts"
import { endedPage } from "../share-link/ended-page.ts"
import { readShareLink } from "../share-link/share-link.ts"
import { ApplicationSide } from "./application-side.ts"
import { CallerSide, frameSize } from "./caller-side.ts"
import { ClaimedStream, type StreamHost } from "./claimed-stream.ts"
import { ClaimedStreams } from "./claimed-streams.ts"
import { endedFields, type RequestFields, readRequestFields, requestFields } from "./fields.ts"
import {
  encodeHeaders,
  errors,
  type Frame,
  FrameReader,
  flags,
  frameTypes,
  goAway,
  initialWindow,
  maxWindow,
  preface,
  readSettings,
  resetStream,
  settings,
  windowUpdate,
  withoutPadding,
} from "./frames.ts"
import { HeaderBlock } from "./header-block.ts"
import { encodeStateless, type HeaderField, HpackDecoder } from "./hpack.ts"
import { UndecidedStream } from "./undecided-stream.ts"

/** Frames that wait while an older stream is undecided. */
const maxHeld = 2000

/** A connection that began with HTTP/1.1. */
export interface UpgradedConnection {
  application: TcpSocket
  applicationOutlet: Outlet
  /** Payload of the SETTINGS frame the caller's request stood for. */
  callerSettings: Buffer
}

/**
 * One HTTP/2 connection on a port with filters. Application and caller talk to each other frame by frame: stream numbers, settings,
 * windows, pings pass unchanged. Frames of claimed streams are taken out, and answers put in between; header blocks put in use no
 * compression state, so those of the application stay valid. Until the first claim the bytes to the application are the caller's own.
 */
export class Http2Connection implements Service, StreamHost {
  readonly marks
  readonly #connection: IncomingConnection
  readonly #port: Port
  readonly #settings: IncomingSettings
  readonly #outlet: Outlet
  readonly #caller: CallerSide
  readonly #application: ApplicationSide
  readonly #fromCaller = new FrameReader()
  readonly #decoder = new HpackDecoder()
  readonly #claimed = new ClaimedStreams()
  #prefaceLeft = preface.length
  #block: HeaderBlock | undefined
  #lastStream = 0
  #undecided: UndecidedStream | undefined
  /** Frames of streams wait until it is clear whose an older one is: stream numbers must not go back. */
  #held: Frame[] = []
  #raw = false
  #over = false
  /** What the caller lets a new stream be sent. */
  #streamWindow = initialWindow

  constructor({ connection, way, port, settings: incoming, outlet }: HttpParts, upgraded?: UpgradedConnection) {
    this.#connection = connection
    this.#port = port
    this.#settings = incoming
    this.marks = incoming.marks
    this.#outlet = outlet
    this.#caller = new CallerSide(outlet)
    this.#application = new ApplicationSide(this.#caller, {
      onSettings: (payload) => this.#onApplicationSettings(payload),
      lastClaimed: () => this.#claimed.last,
      onDrain: () => connection.socket.resume(),
      onEnd: () => this.#onApplicationEnd(),
      onClose: (error) => this.#onApplicationClose(error),
    })
    if (upgraded) {
      // The request that was there before is the application's stream 1.
      this.#lastStream = 1
      this.#onCallerSettings(upgraded.callerSettings)
      this.#application.continueWith(upgraded.application, upgraded.applicationOutlet)
    } else this.#application.connect((events) => way.connectToApplication(connection, events))
  }

  // ---- the caller

  onData(bytes: Buffer): void {
    if (this.#over) return
    if (this.#raw) {
      this.#application.passBytes(bytes)
      this.#flush()
      return
    }
    let rest = bytes
    if (this.#prefaceLeft > 0) {
      const part = bytes.subarray(0, this.#prefaceLeft)
      this.#prefaceLeft -= part.length
      this.#application.passBytes(part)
      rest = bytes.subarray(part.length)
    }
    for (const frame of this.#fromCaller.feed(rest)) {
      if (this.#raw) this.#application.passBytes(frame.bytes)
      else if (!this.#over) this.#onCallerFrame(frame)
    }
    if (this.#fromCaller.broken && !this.#raw && !this.#over) this.#fail(errors.frameSize, [])
    if (this.#raw) this.#application.passBytes(this.#fromCaller.takeRest())
    this.#flush()
  }

  onDrain(): void {
    if (this.#outlet.onDrain()) this.#application.resume()
  }

  onEnd(): void {
    this.#application.passBytes(this.#fromCaller.takeRest())
    this.#flush()
    this.#application.end()
    if (!this.#application.isOpen && this.#claimed.size === 0) this.#outlet.end()
    this.#callerEnded = true
  }

  #callerEnded = false
  #finishing = false

  /** The caller makes another connection for what it has not begun. */
  finish(): void {
    if (this.#raw) return
    this.#finishing = true
    this.#caller.put(goAway(this.#lastStream, 0))
  }

  onClose(error?: Error): void {
    this.#over = true
    this.#outlet.closed()
    this.#undecided?.dispose()
    for (const stream of this.#claimed.all) stream.cancel()
    if (error) this.#application.reset()
    else this.#application.end()
    this.#application.resume()
  }

  #onCallerFrame(frame: Frame): void {
    if (this.#undecided && frame.stream !== 0) {
      this.#wait(this.#undecided, frame)
      return
    }
    if (this.#block) {
      this.#onBlockFrame(this.#block, frame)
      return
    }
    const claimed = this.#claimed.get(frame.stream)
    switch (frame.type) {
      case frameTypes.headers:
        this.#onBlockFrame(new HeaderBlock(frame), frame)
        return
      case frameTypes.data:
        if (claimed) this.#onClaimedData(claimed, frame)
        else if (this.#claimed.isEnded(frame.stream)) this.credit(0, frame.payload.length)
        else this.#application.pass(frame)
        return
      case frameTypes.windowUpdate:
        this.#onWindowUpdate(frame, claimed)
        return
      case frameTypes.resetStream:
        if (claimed) {
          if (!this.#claimed.takeBack(claimed)) this.#fail(errors.calm, [])
        } else if (!this.#claimed.isEnded(frame.stream)) this.#application.pass(frame)
        return
      case frameTypes.priority:
        if (!claimed && !this.#claimed.isEnded(frame.stream)) this.#application.pass(frame)
        return
      case frameTypes.continuation:
        this.#fail(errors.protocol, [frame])
        return
      case frameTypes.settings:
        if (!(frame.flags & flags.ack)) this.#onCallerSettings(frame.payload)
        this.#application.pass(frame)
        return
      default:
        this.#application.pass(frame)
    }
  }

  // ---- requests

  #onBlockFrame(block: HeaderBlock, frame: Frame): void {
    this.#block = block
    const state = block.add(frame)
    if (state === "more") return
    this.#block = undefined
    const fields = state === "whole" ? this.#decoder.decode(block.content()) : undefined
    if (!fields) {
      const frames = block.frames.includes(frame) ? block.frames : [...block.frames, frame]
      this.#fail(state === "whole" ? errors.compression : errors.calm, frames)
      return
    }
    const claimed = this.#claimed.get(block.stream)
    if (claimed) claimed.onTrailers(fields)
    else if (block.stream > this.#lastStream && this.#finishing) {
      // The caller was told, or will learn, that nobody has begun with it.
      this.#application.withhold()
      this.#claimed.addEnded(block.stream)
    } else if (block.stream > this.#lastStream) {
      this.#lastStream = block.stream
      this.#onRequest(block, fields)
    } else if (!this.#claimed.isEnded(block.stream)) this.#application.passBlock(block, fields)
  }

  #onRequest(block: HeaderBlock, given: readonly HeaderField[]): void {
    const subscriptions = this.#port.filtered
    const readable = subscriptions.length > 0 ? readRequestFields(given) : undefined
    if (!readable) {
      this.#application.passBlock(block, given)
      return
    }
    const request = this.#settings.shareLinks.used ? this.#withoutLink(readable, block) : readable
    if (!request) return
    const fields = request === readable ? given : requestFields(request)
    if (!block.endStream && subscriptions.some(({ filter }) => filter.needsBody)) {
      this.#undecided = new UndecidedStream(block, fields, request, this.#settings, () => this.#decide())
      return
    }
    const choice = this.#choose(request, new Uint8Array())
    if (choice) this.#claim(choice, block.stream, request, block.endStream)
    else this.#application.passBlock(block, fields)
  }

  /**
   * The request as if it had come without its shared link; undefined when that has been answered. The cookie comes with the answer of
   * a client only: the application's headers pass as they are.
   */
  #withoutLink(request: RequestFields, { stream }: HeaderBlock): RequestFields | undefined {
    const { shareLinks } = this.#settings
    const link = readShareLink({ target: request.path, headers: request.headers }, (key) => shareLinks.has(key))
    if (!link) return request
    // The application's decoder no longer sees what the caller's encoder remembers.
    this.#application.withhold()
    if (link.kind === "ended") {
      this.#answerEnded(stream, request.method, link.path, link.setCookie)
      return undefined
    }
    const { target, headers } = link.request
    return {
      ...request,
      path: target,
      headers: headers.map(([name, value]) => [name, value]),
      setCookie: link.setCookie,
    }
  }

  #answerEnded(stream: number, method: string, path: string, setCookie: string): void {
    this.#claimed.addEnded(stream)
    const page = endedPage(path)
    const bodiless = method === "HEAD"
    this.sendHeaders(stream, endedFields(setCookie, page.length), bodiless)
    // It is smaller than any window in use; a caller that lets nothing through gets the headers.
    if (!bodiless && this.sendData(stream, page, this.#streamWindow, true) < page.length)
      this.sendReset(stream, errors.refused)
  }

  #choose({ method, path, headers }: RequestFields, body: Uint8Array | undefined): FilteredSubscription | undefined {
    return chooseSubscription(
      this.#port.filtered,
      { method, target: path, headers, body },
      {
        upgrade: false,
        tls: this.#connection.transport.kind === "Tls",
      },
    )
  }

  #claim({ channel }: FilteredSubscription, stream: number, request: RequestFields, isLast: boolean): void {
    this.#application.withhold()
    if (this.#claimed.isFull) {
      this.#claimed.addEnded(stream)
      this.sendReset(stream, errors.refused)
      return
    }
    this.#settings.onClaimed(1)
    const claimed = new ClaimedStream(stream, channel, this.#connection, request, this.#streamWindow, this)
    this.#claimed.add(stream, claimed)
    claimed.start([], isLast)
  }

  /** The body is there, or too large, or too late. */
  #decide(): void {
    const undecided = this.#undecided
    if (!undecided || this.#over) return
    this.#undecided = undefined
    undecided.dispose()
    const choice = this.#choose(undecided.request, undecided.body)
    if (choice) {
      this.#claim(choice, undecided.id, undecided.request, false)
    } else this.#application.passBlock(undecided.block, undecided.fields)
    const held = [...undecided.frames, ...this.#held]
    this.#held = []
    // One of them may be undecided again; then the rest is held once more.
    for (const frame of held) this.#onCallerFrame(frame)
    this.#flush()
  }

  #wait(undecided: UndecidedStream, frame: Frame): void {
    if (frame.stream === undecided.id && frame.type === frameTypes.data) undecided.add(frame)
    else {
      this.#held.push(frame)
      // Trailers, or the request is taken back: no more of the body will come.
      if (frame.stream === undecided.id && frame.type !== frameTypes.windowUpdate) undecided.complete()
      if (this.#held.length > maxHeld) this.#fail(errors.calm, [])
    }
  }

  #onClaimedData(claimed: ClaimedStream, frame: Frame): void {
    const content = withoutPadding(frame)
    if (content) claimed.onData(content, frame.payload.length, (frame.flags & flags.endStream) !== 0)
    else this.#fail(errors.protocol, [frame])
  }

  // ---- passing on

  #flush(): void {
    if (!this.#application.flush()) this.#connection.socket.pause()
  }

  /** Bytes that cannot be understood: the application's business, unless it has not seen all of them. */
  #fail(error: number, frames: readonly Frame[]): void {
    if (this.#application.isUpToDate && !this.#undecided) {
      this.#raw = true
      for (const { bytes } of frames) this.#application.passBytes(bytes)
      return
    }
    this.#caller.openForOthers()
    this.#caller.put(goAway(this.#claimed.last, error))
    this.#over = true
    this.#caller.end()
    for (const stream of this.#claimed.all) stream.cancel()
    this.#application.end()
  }

  // ---- windows and settings

  #onCallerSettings(payload: Buffer): void {
    for (const [id, value] of readSettings(payload)) {
      if (id !== settings.initialWindowSize || value > maxWindow) continue
      for (const stream of this.#claimed.all) stream.onWindow(value - this.#streamWindow)
      this.#streamWindow = value
    }
  }

  #onWindowUpdate(frame: Frame, claimed: ClaimedStream | undefined): void {
    const bytes = frame.payload.length === 4 ? frame.payload.readUInt32BE(0) & maxWindow : 0
    if (frame.stream !== 0) {
      if (claimed) claimed.onWindow(bytes)
      else if (!this.#claimed.isEnded(frame.stream)) this.#application.pass(frame)
      return
    }
    const unknown = this.#caller.onWindow(bytes)
    if (unknown === bytes) this.#application.pass(frame)
    else if (unknown > 0) this.#application.pass({ ...frame, bytes: windowUpdate(0, unknown) })
    for (const stream of this.#claimed.all) stream.pump()
  }

  // ---- the application

  #onApplicationSettings(payload: Buffer): void {
    for (const [id, value] of readSettings(payload)) {
      if (id === settings.headerTableSize) this.#decoder.allowedBytes = Math.max(this.#decoder.allowedBytes, value)
      if (id === settings.maxFrameSize)
        this.#fromCaller.allowedBytes = Math.max(frameSize, Math.min(value, 2 ** 24 - 1))
    }
  }

  #onApplicationEnd(): void {
    if (this.#claimed.size === 0) this.#outlet.end()
    else this.#caller.put(goAway(this.#claimed.last, 0))
    this.#ending = true
  }

  #ending = false

  #onApplicationClose(error?: Error): void {
    this.#connection.socket.resume()
    if (this.#over) return
    if (this.#claimed.size > 0) {
      this.#application.standIn()
      if (!this.#ending) this.#caller.put(goAway(this.#claimed.last, 0))
      this.#ending = true
    } else if (error) this.#outlet.reset()
    else this.#outlet.end()
  }

  // ---- what claimed streams send

  sendHeaders(stream: number, fields: readonly HeaderField[], endStream: boolean): void {
    this.#caller.put(encodeHeaders(stream, encodeStateless(fields), endStream, frameSize))
  }

  sendData(stream: number, bytes: Uint8Array, streamWindow: number, endStream: boolean): number {
    return this.#caller.putData(stream, bytes, streamWindow, endStream)
  }

  sendReset(stream: number, error: number): void {
    this.#caller.put(resetStream(stream, error))
  }

  credit(stream: number, bytes: number): void {
    if (bytes === 0 || this.#over) return
    this.#caller.put(windowUpdate(0, bytes))
    if (stream !== 0) this.#caller.put(windowUpdate(stream, bytes))
  }

  onOver(stream: number): void {
    if (!this.#claimed.end(stream)) return
    this.#settings.onClaimed(-1)
    if ((this.#ending || (this.#callerEnded && !this.#application.isOpen)) && this.#claimed.size === 0)
      this.#outlet.end()
  }
}
