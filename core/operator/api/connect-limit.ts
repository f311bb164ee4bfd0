import { tooMany } from "./status.ts"

/** Users whose connects are counted at once is bounded by the limit itself: a count of zero is forgotten. */
export class ConnectLimit {
  readonly #perUser: number
  readonly #inProgress = new Map<string, number>()

  /** @param perUser connects of one user that may be in progress at once */
  constructor(perUser: number) {
    this.#perUser = perUser
  }

  /** Runs one connect. @throws StatusError 429 when the user has too many in progress */
  async run<T>(user: string, connect: () => Promise<T>): Promise<T> {
    const before = this.#inProgress.get(user) ?? 0
    if (before >= this.#perUser) {
      throw tooMany(
        `User "${user}" has ${before} connects in progress; the limit is ${this.#perUser}`,
        retryAfterSeconds,
      )
    }
    this.#inProgress.set(user, before + 1)
    try {
      return await connect()
    } finally {
      const after = this.#inProgress.get(user)! - 1
      if (after > 0) this.#inProgress.set(user, after)
      else this.#inProgress.delete(user)
    }
  }
}

const retryAfterSeconds = 1
