import { headerMap } from "../claimed-request.ts"
import type { ClientChannel } from "../client-channel.ts"
import type { ReadableRoute } from "../connection.ts"
import type { CompiledFilter } from "../filter/filter.ts"
import type { IncomingSettings } from "../incoming-settings.ts"
import { RequestCopy } from "../request-copy.ts"
import { outgoingRequest, readRequestFields } from "./fields.ts"
import { type Frame, FrameReader, flags, frameTypes, withoutPadding } from "./frames.ts"
import { HeaderBlock } from "./header-block.ts"
import { type HeaderField, HpackDecoder } from "./hpack.ts"

/** Only the caller is seen here, so what the application allows it is not known; these are the limits for any. */
const largestTableBytes = 64 << 10
const largestFrameBytes = 1 << 20
const maxStreams = 1000

/** Copies of the HTTP/2 requests on one connection that match a client's filter. */
export class MirroredStreams {
  readonly #channel: ClientChannel
  readonly #connection: ReadableRoute
  readonly #filter: CompiledFilter
  readonly #settings: IncomingSettings
  readonly #reader = new FrameReader()
  readonly #decoder = new HpackDecoder()
  readonly #copies = new Map<number, RequestCopy>()
  #block: HeaderBlock | undefined
  #blind = false

  constructor(channel: ClientChannel, connection: ReadableRoute, filter: CompiledFilter, settings: IncomingSettings) {
    this.#channel = channel
    this.#connection = connection
    this.#filter = filter
    this.#settings = settings
    this.#reader.allowedBytes = largestFrameBytes
    this.#decoder.allowedBytes = largestTableBytes
  }

  /** Everything behind the connection preface. */
  onData(bytes: Buffer): void {
    if (this.#blind) return
    for (const frame of this.#reader.feed(bytes)) if (!this.#blind) this.#onFrame(frame)
    if (this.#reader.broken) this.close()
  }

  close(): void {
    this.#blind = true
    for (const copy of this.#copies.values()) copy.abandon()
    this.#copies.clear()
  }

  #onFrame(frame: Frame): void {
    if (this.#block || frame.type === frameTypes.headers) this.#onBlockFrame(frame)
    else if (frame.type === frameTypes.data) {
      const copy = this.#copies.get(frame.stream)
      copy?.data(withoutPadding(frame) ?? Buffer.alloc(0))
      if (frame.flags & flags.endStream) this.#finish(frame.stream, undefined)
    } else if (frame.type === frameTypes.resetStream) {
      this.#copies.get(frame.stream)?.abandon()
      this.#copies.delete(frame.stream)
    }
  }

  #onBlockFrame(frame: Frame): void {
    const block = this.#block ?? new HeaderBlock(frame)
    this.#block = block
    const state = block.add(frame)
    if (state === "more") return
    this.#block = undefined
    const fields = state === "whole" ? this.#decoder.decode(block.content()) : undefined
    if (!fields) this.close()
    else if (this.#copies.has(block.stream)) this.#finish(block.stream, fields)
    else this.#onRequest(block, fields)
  }

  #onRequest(block: HeaderBlock, fields: readonly HeaderField[]): void {
    const request = readRequestFields(fields)
    if (!request || this.#copies.size >= maxStreams) return
    const { method, path, headers } = request
    const facts = { method, target: path, headers, body: undefined }
    const { maxBodyBytes } = this.#settings
    const copy = new RequestCopy(
      this.#channel,
      this.#connection,
      outgoingRequest(request),
      this.#filter,
      facts,
      maxBodyBytes,
    )
    this.#copies.set(block.stream, copy)
    if (block.endStream) this.#finish(block.stream, undefined)
  }

  #finish(stream: number, trailers: readonly HeaderField[] | undefined): void {
    this.#copies.get(stream)?.end(trailers && headerMap(trailers))
    this.#copies.delete(stream)
  }
}
