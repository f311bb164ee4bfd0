import { chooseSubscription } from "../choose.ts"
import type { IncomingConnection } from "../connection.ts"
import type { IncomingSettings } from "../incoming-settings.ts"
import type { FilteredSubscription, Port } from "../port.ts"
import { readShareLink } from "../share-link/share-link.ts"
import { type RequestFields, readRequestFields, requestFields } from "./fields.ts"
import { type Frame, frameTypes } from "./frames.ts"
import type { HeaderBlock } from "./header-block.ts"
import type { HeaderField } from "./hpack.ts"
import { UndecidedStream } from "./undecided-stream.ts"

/** Frames that wait while an older stream is undecided. */
const maxHeld = 2000

/** What becomes of a request, once it is known. */
export interface RequestHost {
  claim(choice: FilteredSubscription, stream: number, request: RequestFields, isLast: boolean): void
  /** Nobody's: the application gets it with these fields; `setCookie` belongs into its answer. */
  pass(block: HeaderBlock, fields: readonly HeaderField[], setCookie?: string): void
  /** The application does not see header blocks as the caller sent them any more. */
  withhold(): void
  /** Its shared link belongs to a session that is over. */
  answerEnded(stream: number, method: string, path: string, setCookie: string): void
  /** Frames that had to wait, in their order; some may have to wait again. */
  goOn(frames: readonly Frame[]): void
  /** The caller may send as much again on the connection. False: enough was lent. */
  lend(bytes: number): boolean
  /** More waits than may. */
  tooMany(): void
}

/** Whose the requests of a connection are, one after the other: stream numbers at the application must not go back. */
export class NewRequests {
  readonly #connection: IncomingConnection
  readonly #port: Port
  readonly #settings: IncomingSettings
  readonly #host: RequestHost
  #undecided: UndecidedStream | undefined
  #held: Frame[] = []
  readonly #heldStreams = new Set<number>()

  constructor(connection: IncomingConnection, port: Port, settings: IncomingSettings, host: RequestHost) {
    this.#connection = connection
    this.#port = port
    this.#settings = settings
    this.#host = host
  }

  get isUndecided(): boolean {
    return this.#undecided !== undefined
  }

  begin(block: HeaderBlock, given: readonly HeaderField[]): void {
    const subscriptions = this.#port.filtered
    const readable = subscriptions.length > 0 ? readRequestFields(given) : undefined
    if (!readable) {
      this.#host.pass(block, given)
      return
    }
    const request = this.#settings.shareLinks.used ? this.#withoutLink(readable, block) : readable
    if (!request) return
    const fields = request === readable ? given : requestFields(request)
    if (!block.endStream && subscriptions.some(({ filter }) => filter.needsBody)) {
      const undecided: UndecidedStream = new UndecidedStream(block, fields, request, this.#settings, () =>
        this.#decide(undecided),
      )
      this.#undecided = undecided
      return
    }
    const choice = this.#choose(request, new Uint8Array())
    if (choice) this.#host.claim(choice, block.stream, request, block.endStream)
    else this.#host.pass(block, fields, request.setCookie)
  }

  /** A frame of a stream, which may have to wait until it is clear whose an older one is. */
  takes(frame: Frame): boolean {
    const undecided = this.#undecided
    if (!undecided) return false
    if (frame.stream === undecided.id && frame.type === frameTypes.data) undecided.add(frame)
    else if (this.#isOfAnOlder(undecided, frame)) return false
    else {
      this.#hold(frame)
      // Trailers, or the request is taken back: no more of the body will come.
      if (frame.stream === undecided.id && frame.type !== frameTypes.windowUpdate) undecided.complete()
      if (this.#held.length > maxHeld) this.#host.tooMany()
    }
    return true
  }

  /** What waits must not take all of the connection's window, or the body that is waited for could never come. */
  #hold(frame: Frame): void {
    const { length } = frame.payload
    if (frame.type === frameTypes.data && length > 0 && this.#held.length < maxHeld / 2) {
      frame.lent ||= this.#host.lend(length)
    }
    this.#held.push(frame)
    this.#heldStreams.add(frame.stream)
  }

  /** It need not wait: its stream was decided before. Header blocks are read in their order, and what is behind a held one waits with it. */
  #isOfAnOlder(undecided: UndecidedStream, { stream, type }: Frame): boolean {
    const isOfBlock = type === frameTypes.headers || type === frameTypes.continuation
    return stream < undecided.id && !isOfBlock && !this.#heldStreams.has(stream)
  }

  dispose(): void {
    this.#undecided?.dispose()
    this.#undecided = undefined
  }

  /** The body is there, or too large, or too late; each may be said of one that is decided already. */
  #decide(undecided: UndecidedStream): void {
    if (this.#undecided !== undecided) return
    this.dispose()
    const choice = this.#choose(undecided.request, undecided.body)
    if (choice) this.#host.claim(choice, undecided.id, undecided.request, false)
    else this.#host.pass(undecided.block, undecided.fields, undecided.request.setCookie)
    const held = [...undecided.frames, ...this.#held]
    this.#held = []
    this.#heldStreams.clear()
    this.#host.goOn(held)
  }

  #choose({ method, path, headers }: RequestFields, body: Uint8Array | undefined): FilteredSubscription | undefined {
    const tls = this.#connection.transport.kind === "Tls"
    return chooseSubscription(this.#port.filtered, { method, target: path, headers, body }, { upgrade: false, tls })
  }

  /** The request as if it had come without its shared link; undefined when that has been answered. */
  #withoutLink(request: RequestFields, { stream }: HeaderBlock): RequestFields | undefined {
    const { shareLinks } = this.#settings
    const link = readShareLink({ target: request.path, headers: request.headers }, (key) => shareLinks.has(key))
    if (!link) return request
    // The application's decoder no longer sees what the caller's encoder remembers.
    this.#host.withhold()
    if (link.kind === "ended") {
      this.#host.answerEnded(stream, request.method, link.path, link.setCookie)
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
}
