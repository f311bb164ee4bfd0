import { chooseSubscription } from "../choose.ts"
import type { HttpParts } from "../http-parts.ts"
import type { FilteredSubscription } from "../port.ts"
import { CollectedBody } from "./collected-body.ts"
import type { RequestHead } from "./request-head.ts"

const empty = Buffer.alloc(0)
const proceed = Buffer.from("HTTP/1.1 100 Continue\r\n\r\n")

/** Finds out whose the requests of a connection are, by their bodies if a filter wants that. */
export class RequestOwner {
  readonly #parts: HttpParts
  readonly #onTooLate: () => void
  #collected: CollectedBody | undefined

  /** `onTooLate`: a body that was waited for did not come in time; ask again. */
  constructor(parts: HttpParts, onTooLate: () => void) {
    this.#parts = parts
    this.#onTooLate = onTooLate
  }

  get waitsForBody(): boolean {
    return this.#collected !== undefined
  }

  /** Of the request at `at`. `pass`: the application's; `undecided`: ask again with more of the body. */
  of(head: RequestHead, input: Buffer, at: number): FilteredSubscription | "pass" | "undecided" {
    const { port, connection } = this.#parts
    const subscriptions = port.filtered
    if (subscriptions.length === 0) return "pass"
    let body: Buffer | undefined
    if (subscriptions.some(({ filter }) => filter.needsBody)) {
      const collected = head.body.kind === "none" ? empty : this.#collect(head, input, at)
      if (collected === "more") return "undecided"
      body = collected
    }
    const { method, target, headers, upgrade } = head
    const needs = { upgrade, tls: connection.transport.kind === "Tls" }
    return chooseSubscription(subscriptions, { method, target, headers, body }, needs) ?? "pass"
  }

  dispose(): void {
    this.#collected?.dispose()
    this.#collected = undefined
  }

  /** The whole body, or undefined when it is too large or too slow. */
  #collect(head: RequestHead, input: Buffer, at: number): Buffer | undefined | "more" {
    if (!this.#collected) {
      this.#collected = new CollectedBody(head.body, head.end - at, this.#parts.settings, this.#onTooLate)
      if (head.expectContinue) this.#parts.outlet.write(proceed)
    }
    const body = this.#collected.read(input, at)
    if (body !== "more") this.#collected = undefined
    return body
  }
}
