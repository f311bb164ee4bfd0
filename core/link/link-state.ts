import { AppError } from "../errors.ts"
import type { LinkEnd } from "../link.ts"
import type { LinkLimits } from "./side.ts"

/** What all links have in common: the end that comes once, waiting senders, counted pauses, the one receiver. */
export class LinkState<In> {
  readonly ended: Promise<LinkEnd>
  over = false
  #settle!: (end: LinkEnd) => void
  #waiting: (() => void)[] = []
  #pauses = 0
  #handler: ((message: In) => void) | undefined
  readonly #onReadable: (readable: boolean) => void

  /** `onReadable` hears whether bytes are wanted; not before there is a receiver. */
  constructor(onReadable: (readable: boolean) => void) {
    this.#onReadable = onReadable
    this.ended = new Promise((resolve) => {
      this.#settle = resolve
    })
  }

  /** False when the link had ended before. */
  end(error?: Error): boolean {
    if (this.over) return false
    this.over = true
    this.#settle(error === undefined ? {} : { error })
    this.#handler = () => {}
    this.releaseSenders()
    return true
  }

  waitForRoom(): Promise<void> {
    return new Promise((resolve) => this.#waiting.push(resolve))
  }

  releaseSenders(): void {
    const waiting = this.#waiting
    if (waiting.length === 0) return
    this.#waiting = []
    for (const release of waiting) release()
  }

  /** Are messages wanted at this moment? */
  get readable(): boolean {
    return this.#handler !== undefined && this.#pauses === 0
  }

  receive(handler: (message: In) => void): void {
    if (this.over) return
    const before = this.readable
    this.#handler = handler
    if (before !== this.readable) this.#onReadable(this.readable)
  }

  pause(): void {
    const before = this.readable
    this.#pauses++
    if (before) this.#onReadable(false)
  }

  resume(): void {
    if (this.#pauses === 0) return
    this.#pauses--
    if (this.readable) this.#onReadable(true)
  }

  readonly deliver = (message: In): void => this.#handler?.(message)
}

export function overflow(limits: LinkLimits): AppError {
  return new AppError("link-overflow", `More than ${limits.maxQueuedBytes} bytes wait for a peer that does not read`)
}

export function cutOff(): AppError {
  return new AppError("link-cut", "The connection ended in the middle of a message")
}
