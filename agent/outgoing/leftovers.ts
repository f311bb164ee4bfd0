import { Allowance } from "../allowance.ts"

/** Of all connections together that their clients have closed, or left, before the peer had everything. */
const maxLeftoverBytes = 64 * 1024 * 1024
/** What a connection takes beside its bytes: a socket here and one in the kernel. */
const connectionBytes = 16 * 1024

/** Room for what clients have left behind; they do not slow down for it any more, as those do that are still there. */
export class Leftovers {
  readonly #room = new Allowance(maxLeftoverBytes)

  /** A connection with so many bytes to send stays: what gives its room back, or undefined when there is none. */
  keep(queuedBytes: number): (() => void) | undefined {
    const bytes = queuedBytes + connectionBytes
    return this.#room.take(bytes) ? () => this.#room.giveBack(bytes) : undefined
  }
}
