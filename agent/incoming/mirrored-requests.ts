import type { Tap } from "../../core/interceptor.ts"
import { headerMap } from "./claimed-request.ts"
import type { ClientChannel } from "./client-channel.ts"
import type { ReadableRoute } from "./connection.ts"
import type { CompiledFilter } from "./filter/filter.ts"
import { BodyReader } from "./http1/body-reader.ts"
import { parseRequestHead } from "./http1/request-head.ts"
import { preface } from "./http2/frames.ts"
import { MirroredStreams } from "./http2/mirrored-streams.ts"
import type { IncomingSettings } from "./incoming-settings.ts"
import { RequestCopy } from "./request-copy.ts"

/** What a head that is not complete may hold back. */
const maxInputBytes = 128 << 10
const empty = Buffer.alloc(0)

/** Copies of the HTTP requests on one connection that match a client's filter. Looks on only; stops where it does not understand. */
export class MirroredRequests implements Tap {
  readonly #channel: ClientChannel
  readonly #connection: ReadableRoute
  readonly #filter: CompiledFilter
  readonly #settings: IncomingSettings
  #input: Buffer = empty
  #body: BodyReader | undefined
  #copy: RequestCopy | undefined
  #streams: MirroredStreams | undefined
  #isFirst = true
  #blind = false

  constructor(channel: ClientChannel, connection: ReadableRoute, filter: CompiledFilter, settings: IncomingSettings) {
    this.#channel = channel
    this.#connection = connection
    this.#filter = filter
    this.#settings = settings
  }

  onData(bytes: Buffer): void {
    if (this.#streams) this.#streams.onData(bytes)
    else if (!this.#blind) this.#read(this.#input.length === 0 ? bytes : Buffer.concat([this.#input, bytes]))
  }

  onEnd(): void {
    this.onClose()
  }

  /** What comes next on the connection may be anything. */
  onLost(reason: string): void {
    if (!this.over) this.#channel.lost.add("requestsOfConnection", reason)
    this.onClose()
  }

  get over(): boolean {
    return this.#blind || this.#channel.client.signal.aborted
  }

  onClose(): void {
    this.#blind = true
    this.#input = empty
    this.#copy?.abandon()
    this.#streams?.close()
  }

  #read(input: Buffer): void {
    let at = 0
    while (at < input.length) {
      if (this.#body) at = this.#readBody(this.#body, input, at)
      else {
        const length = Math.min(input.length, preface.length)
        if (this.#isFirst && preface.subarray(0, length).equals(input.subarray(0, length))) {
          if (length === preface.length) this.#becomeStreams(input.subarray(length))
          else this.#input = input
          return
        }
        const head = parseRequestHead(input, at)
        if (head === "incomplete" && input.length - at <= maxInputBytes) break
        if (head === "odd" || head === "incomplete" || head.method === "CONNECT") {
          this.onClose()
          return
        }
        this.#isFirst = false
        const { method, target, version, headers } = head
        const request = { method, uri: target, version, headers: headerMap(headers) }
        const facts = { method, target, headers, body: undefined }
        const { maxBodyBytes } = this.#settings
        const copy = new RequestCopy(this.#channel, this.#connection, request, this.#filter, facts, maxBodyBytes)
        this.#copy = copy
        this.#body = new BodyReader(head.body)
        this.#body.sink = (content) => copy.data(content)
        at = this.#readBody(this.#body, input, head.end)
        // If the application agrees, HTTP/2 follows; what follows any other upgrade is no longer requests.
        if (head.http2Settings) this.#isFirst = true
        else if (head.upgrade) {
          this.onClose()
          return
        }
      }
      if (this.#blind) return
    }
    this.#input = input.subarray(at)
  }

  #readBody(body: BodyReader, input: Buffer, start: number): number {
    const end = body.feed(input, start)
    if (body.broken) this.onClose()
    else if (body.done) {
      this.#copy?.end(body.trailers.length > 0 ? headerMap(body.trailers) : undefined)
      this.#copy = undefined
      this.#body = undefined
    }
    return end
  }

  #becomeStreams(rest: Buffer): void {
    this.#input = empty
    this.#streams = new MirroredStreams(this.#channel, this.#connection, this.#filter, this.#settings)
    this.#streams.onData(rest)
  }
}
