import type { SessionChanges } from "../session/session-changes.ts"
import { tooMany } from "./status.ts"
import { WatchBody, type WatchRequest } from "./watch-body.ts"

/** Watches of one replica, and of one user of them. */
export const maxWatches = 500
export const maxWatchesPerUser = 50

const retryAfterSeconds = 5

/** The watches that are open at this replica. */
export class Watches {
  readonly #changes: SessionChanges
  readonly #perUser = new Map<string, number>()
  #count = 0

  constructor(changes: SessionChanges) {
    this.#changes = changes
  }

  /** @throws StatusError 429 */
  open(user: string, request: WatchRequest): Response {
    const own = this.#perUser.get(user) ?? 0
    if (own >= maxWatchesPerUser)
      throw tooMany(`User "${user}" has ${own} watches; the limit is ${maxWatchesPerUser}`, retryAfterSeconds)
    if (this.#count >= maxWatches)
      throw tooMany(`There are ${this.#count} watches; the limit is ${maxWatches}`, retryAfterSeconds)
    this.#count++
    this.#perUser.set(user, own + 1)
    const body = new WatchBody(request, this.#changes, () => {
      this.#count--
      const left = this.#perUser.get(user)! - 1
      if (left > 0) this.#perUser.set(user, left)
      else this.#perUser.delete(user)
    })
    // One piece ahead at most: what a slow caller has not taken stays where it is kept for all.
    return new Response(new ReadableStream(body, { highWaterMark: 1 }), {
      headers: { "content-type": "application/json" },
    })
  }
}
