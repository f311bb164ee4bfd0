import { AppError } from "../errors.ts"
import type { Link, LinkEnd } from "../link.ts"

/** How long the end that was asked to move waits for the other to close the old carrier, in milliseconds. */
const goodbyeMs = 5_000

/**
 * A link whose carrier can be changed between two messages, without anybody above noticing. The two ends agree on which message
 * is the last on the old one.
 */
export class MovableLink<In, Out> implements Link<In, Out> {
  readonly ended: Promise<LinkEnd>
  readonly #settled = Promise.withResolvers<LinkEnd>()
  /** Where messages go, and where they come from: two carriers only while the link moves. */
  #to: Link<In, Out>
  #from: Link<In, Out>
  #handler: ((message: In) => void) | undefined
  #isLast: ((message: In) => boolean) | undefined
  #pauses = 0
  #sentBefore = 0
  #over = false

  constructor(link: Link<In, Out>) {
    this.#to = link
    this.#from = link
    this.ended = this.#settled.promise
    this.#follow(link)
  }

  get sentBytes(): number {
    return this.#sentBefore + (this.#to.sentBytes ?? 0)
  }

  send(message: Out): boolean {
    return this.#to.send(message)
  }

  whenWritable(): Promise<void> {
    return this.#to.whenWritable()
  }

  receive(handler: (message: In) => void): void {
    this.#handler = handler
    this.#listen(this.#from)
  }

  pause(): void {
    this.#pauses++
    this.#from.pause()
  }

  resume(): void {
    if (this.#pauses === 0) return
    this.#pauses--
    this.#from.resume()
  }

  close(): void {
    if (this.#to !== this.#from) this.#from.abort()
    this.#to.close()
  }

  abort(error?: Error): void {
    this.#end(error ? { error } : {})
    this.#from.abort(error)
    this.#to.abort(error)
  }

  /**
   * From now on messages go to `next`; they come from it behind the one for which `isLast` is true, which nobody else hears of.
   * @param next paused once, and nobody receives from it
   */
  move(next: Link<In, Out>, isLast: (message: In) => boolean): void {
    this.#sendTo(next)
    this.#isLast = isLast
  }

  /**
   * As `move`, when the other end has said its last message already. It is the one to close the old carrier: where that knows no half
   * close, an end might overtake what was sent before.
   */
  moved(next: Link<In, Out>): void {
    const old = this.#from
    this.#sendTo(next)
    this.#receiveFromNext()
    const tooLong = setTimeout(() => old.close(), goodbyeMs)
    tooLong.unref()
    void old.ended.then(() => clearTimeout(tooLong))
  }

  /** Ends this link and gives its carrier away: paused once, and nobody receives from it. */
  release(): Link<In, Out> {
    const link = this.#from
    link.receive(() => {})
    link.pause()
    while (this.#pauses > 0) this.resume()
    this.#from = this.#to = gone
    this.#end({})
    return link
  }

  #end(end: LinkEnd): void {
    this.#over = true
    this.#settled.resolve(end)
  }

  #sendTo(next: Link<In, Out>): void {
    if (this.#over) next.abort()
    this.#sentBefore += this.#to.sentBytes ?? 0
    this.#to = next
    this.#follow(next)
  }

  #receiveFromNext(): void {
    const next = this.#to
    this.#from = next
    this.#isLast = undefined
    if (this.#handler) this.#listen(next)
    for (let count = 0; count < this.#pauses; count++) next.pause()
    next.resume()
  }

  #listen(link: Link<In, Out>): void {
    link.receive((message) => {
      if (link !== this.#from) return
      if (this.#isLast?.(message)) {
        this.#receiveFromNext()
        link.close()
      } else this.#handler?.(message)
    })
  }

  #follow(link: Link<In, Out>): void {
    void link.ended.then((end) => {
      if (link !== this.#from && link !== this.#to) return
      if (this.#to === this.#from) this.#end(end)
      else this.abort(end.error ?? new AppError("link-lost", "The connection was lost while it moved"))
    })
  }
}

/** What is left of a link that was given away. */
const gone: Link<never, unknown> = {
  send: () => true,
  whenWritable: async () => {},
  receive() {},
  pause() {},
  resume() {},
  close() {},
  abort() {},
  ended: Promise.resolve({}),
}
