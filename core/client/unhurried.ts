import type { ClientMessage } from "../protocol/index.ts"

/** How long a message nobody waits for may wait for company, and how many may do so. */
const companyMs = 2
const maxUnhurried = 64

/**
 * Messages nobody waits for, as the end of something: they go out with the next message, or alone a moment later. Each message that
 * travels by itself costs every hop between here and the agent as much as one that carries data.
 */
export class Unhurried {
  readonly #send: (message: ClientMessage) => void
  #messages: ClientMessage[] = []
  #company: ReturnType<typeof setTimeout> | undefined

  constructor(send: (message: ClientMessage) => void) {
    this.#send = send
  }

  add(message: ClientMessage): void {
    this.#messages.push(message)
    if (this.#messages.length >= maxUnhurried) this.#flush()
    else this.#company ??= setTimeout(() => this.#flush(), companyMs)
  }

  /** Something was sent: behind everything that is said together with it, because what somebody waits for is served first. */
  follow(): void {
    if (this.#messages.length > 0) queueMicrotask(() => this.#flush())
  }

  /** There is nobody to hear them any more. */
  drop(): void {
    clearTimeout(this.#company)
    this.#company = undefined
    this.#messages = []
  }

  #flush(): void {
    const messages = this.#messages
    this.drop()
    for (const message of messages) this.#send(message)
  }
}
