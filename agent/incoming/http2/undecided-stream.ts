import type { IncomingSettings } from "../incoming-settings.ts"
import type { RequestFields } from "./fields.ts"
import { type Frame, flags, withoutPadding } from "./frames.ts"
import type { HeaderBlock } from "./header-block.ts"
import type { HeaderField } from "./hpack.ts"

/** A request whose body must be known before it is clear whose it is. */
export class UndecidedStream {
  readonly id: number
  readonly block: HeaderBlock
  readonly fields: readonly HeaderField[]
  readonly request: RequestFields
  /** Its DATA frames so far. */
  readonly frames: Frame[] = []
  /** The whole body, once it is there. */
  body: Buffer | undefined
  readonly #settings: IncomingSettings
  readonly #decide: () => void
  readonly #timer: ReturnType<typeof setTimeout>
  #pieces: Buffer[] = []
  #bytes = 0

  /** `decide` is called once enough is known, or nothing more can be. */
  constructor(
    block: HeaderBlock,
    fields: readonly HeaderField[],
    request: RequestFields,
    settings: IncomingSettings,
    decide: () => void,
  ) {
    this.id = block.stream
    this.block = block
    this.fields = fields
    this.request = request
    this.#settings = settings
    this.#decide = decide
    this.#timer = setTimeout(decide, settings.maxBodyMilliseconds)
  }

  add(frame: Frame): void {
    this.frames.push(frame)
    const content = withoutPadding(frame) ?? Buffer.alloc(0)
    this.#pieces.push(content)
    this.#bytes += content.length
    if (this.#bytes > this.#settings.maxBodyBytes) queueMicrotask(this.#decide)
    else if (frame.flags & flags.endStream) this.complete()
  }

  /** No more of the body will come. */
  complete(): void {
    this.body = Buffer.concat(this.#pieces)
    queueMicrotask(this.#decide)
  }

  dispose(): void {
    clearTimeout(this.#timer)
  }
}
