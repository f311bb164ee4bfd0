import type { IncomingConnection, Service } from "../connection.ts"
import type { HttpParts } from "../http-parts.ts"
import type { IncomingSettings } from "../incoming-settings.ts"
import type { Outlet } from "../outlet.ts"
import type { End } from "../pass-through.ts"
import type { FilteredSubscription } from "../port.ts"
import { endedPage } from "../share-link/ended-page.ts"
import { ApplicationSide } from "./application-side.ts"
import { CallerSide, frameSize } from "./caller-side.ts"
import { ClaimedStream, type StreamHost } from "./claimed-stream.ts"
import { ClaimedStreams } from "./claimed-streams.ts"
import { endedFields, passedFields, type RequestFields } from "./fields.ts"
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
import { NewRequests } from "./new-requests.ts"

/** An application that accepts connections and says nothing (it stands at a breakpoint) holds up answers of clients for no longer. */
const greetingMilliseconds = 500

/** What a caller is lent of its connection's window while it is not clear whose its requests are, in bytes. */
const maxLentBytes = 4 << 20

/** A connection that began with HTTP/1.1. */
export interface UpgradedConnection {
  application: End
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
  readonly #settings: IncomingSettings
  readonly #outlet: Outlet
  readonly #caller: CallerSide
  readonly #application: ApplicationSide
  readonly #requests: NewRequests
  readonly #fromCaller = new FrameReader()
  readonly #decoder = new HpackDecoder()
  readonly #claimed = new ClaimedStreams()
  #prefaceLeft = preface.length
  /** Lent for DATA that was held, and is not taken yet. */
  #lentBytes = 0
  /** Since the first claim, until the application's greeting is waited for no longer. */
  #greeting: ReturnType<typeof setTimeout> | undefined
  /** Settings of the agent that the caller has not acknowledged yet. */
  #unacknowledged = 0
  #block: HeaderBlock | undefined
  #lastStream = 0
  #raw = false
  #over = false
  /** What the caller lets a new stream be sent. */
  #streamWindow = initialWindow

  constructor({ connection, way, port, settings: incoming, outlet }: HttpParts, upgraded?: UpgradedConnection) {
    this.#connection = connection
    this.#settings = incoming
    this.marks = incoming.marks
    this.#outlet = outlet
    this.#caller = new CallerSide(outlet)
    this.#application = new ApplicationSide(this.#caller, {
      onSettings: (payload) => this.#onApplicationSettings(payload),
      lastClaimed: () => this.#claimed.last,
      onRepaid: (bytes) => this.#takeBack(bytes),
      onDrain: () => connection.socket.resume(),
      onEnd: () => this.#onApplicationEnd(),
      onClose: (error) => this.#onApplicationClose(error),
    })
    this.#requests = new NewRequests(connection, port, incoming, {
      claim: (...request) => this.#claim(...request),
      pass: (block, fields, setCookie) =>
        this.#application.passBlock(block, fields, passedFields(incoming.marks, setCookie)),
      withhold: () => this.#application.withhold(),
      answerEnded: (...request) => this.#answerEnded(...request),
      goOn: (frames) => {
        for (const frame of frames) this.#onCallerFrame(frame)
        this.#flush()
      },
      lend: (bytes) => this.#lend(bytes),
      tooMany: () => this.#fail(errors.calm, []),
    })
    if (upgraded) {
      // The request that was there before is the application's stream 1.
      this.#lastStream = 1
      this.#onCallerSettings(upgraded.callerSettings)
      this.#application.continueWith(upgraded.application)
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
    clearTimeout(this.#greeting)
    this.#takeBack(this.#lentBytes)
    this.#outlet.closed()
    this.#requests.dispose()
    for (const stream of this.#claimed.all) stream.cancel()
    if (error) this.#application.reset()
    else this.#application.end()
    this.#application.resume()
  }

  #onCallerFrame(frame: Frame): void {
    if (frame.stream !== 0 && this.#requests.takes(frame)) return
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
        if (frame.lent && (claimed || this.#claimed.isEnded(frame.stream))) this.#takeBack(frame.payload.length)
        if (claimed) this.#onClaimedData(claimed, frame)
        else if (this.#claimed.isEnded(frame.stream)) this.credit(0, frame.lent ? 0 : frame.payload.length)
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
        else if (this.#unacknowledged > 0) {
          this.#unacknowledged--
          return
        }
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
      this.#requests.begin(block, fields)
    } else if (!this.#claimed.isEnded(block.stream)) this.#application.passBlock(block, fields)
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

  #claim({ channel }: FilteredSubscription, stream: number, request: RequestFields, isLast: boolean): void {
    this.#application.withhold()
    if (this.#claimed.isFull) {
      this.#claimed.addEnded(stream)
      this.sendReset(stream, errors.refused)
      return
    }
    this.#settings.onClaimed(1)
    this.#greeting ??= setTimeout(() => this.#greet(), greetingMilliseconds)
    const claimed = new ClaimedStream(stream, channel, this.#connection, request, this.#streamWindow, this)
    this.#claimed.add(stream, claimed)
    claimed.start([], isLast)
  }

  #greet(): void {
    if (!this.#over && this.#application.greetInItsPlace()) this.#unacknowledged++
  }

  #onClaimedData(claimed: ClaimedStream, frame: Frame): void {
    const content = withoutPadding(frame)
    if (content) claimed.onData(content, frame.payload.length, (frame.flags & flags.endStream) !== 0, frame.lent)
    else this.#fail(errors.protocol, [frame])
  }

  // ---- passing on

  #flush(): void {
    if (!this.#application.flush()) this.#connection.socket.pause()
  }

  /** Bytes that cannot be understood: the application's business, unless it has not seen all of them. */
  #fail(error: number, frames: readonly Frame[]): void {
    if (this.#application.isUpToDate && !this.#requests.isUndecided) {
      this.#raw = true
      for (const { bytes } of frames) this.#application.passBytes(bytes)
      return
    }
    this.#caller.openForOthers()
    this.#caller.put(goAway(this.#claimed.last, error))
    this.#over = true
    this.#requests.dispose()
    this.#caller.end()
    for (const stream of this.#claimed.all) stream.cancel()
    this.#application.end()
  }

  // ---- windows and settings

  #takeBack(bytes: number): void {
    this.#lentBytes -= bytes
    this.#settings.lending.giveBack(bytes)
  }

  #lend(bytes: number): boolean {
    if (this.#lentBytes + bytes > maxLentBytes || !this.#settings.lending.take(bytes)) return false
    this.#lentBytes += bytes
    this.#application.expectMore()
    this.credit(0, bytes)
    return true
  }

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
    if (bytes > 0 && !this.#over) this.#caller.put(windowUpdate(stream, bytes))
  }

  onOver(stream: number): void {
    if (!this.#claimed.end(stream)) return
    this.#settings.onClaimed(-1)
    if ((this.#ending || (this.#callerEnded && !this.#application.isOpen)) && this.#claimed.size === 0)
      this.#outlet.end()
  }
}
