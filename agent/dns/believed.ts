import type { QueryType, Reply } from "./message.ts"

/**
 * Longest time a reply is believed, however long its records hold, in milliseconds: a program that looks up a name for each of its
 * calls is served at once, and a deployment is seen a second later at most.
 */
const believedMs = 1000
const maxReplies = 4096
const noError = 0
const noSuchName = 3

/** Replies of name servers, for as long as they hold. */
export class BelievedReplies {
  readonly #replies = new Map<string, { reply: Reply; until: number }>()
  readonly #now: () => number

  /** `now` in milliseconds. */
  constructor(now = () => performance.now()) {
    this.#now = now
  }

  /** `servers` were asked: another configuration has other answers. */
  get(servers: readonly string[], name: string, type: QueryType): Reply | undefined {
    const known = this.#replies.get(keyOf(servers, name, type))
    return known && this.#now() < known.until ? known.reply : undefined
  }

  keep(servers: readonly string[], name: string, type: QueryType, reply: Reply): void {
    const holdsMs = Math.min(believedMs, holdsSeconds(reply) * 1000)
    if (holdsMs === 0 || reply.isTruncated) return
    // Everything in it is old by then.
    if (this.#replies.size >= maxReplies) this.#replies.clear()
    this.#replies.set(keyOf(servers, name, type), { reply, until: this.#now() + holdsMs })
  }
}

function holdsSeconds({ code, answers, absentSeconds }: Reply): number {
  if (code !== noError && code !== noSuchName) return 0
  if (answers.length === 0) return absentSeconds ?? 0
  return answers.reduce((least, { ttlSeconds }) => Math.min(least, ttlSeconds), Number.POSITIVE_INFINITY)
}

function keyOf(servers: readonly string[], name: string, type: QueryType): string {
  return `${type} ${name.toLowerCase()} ${servers.join(" ")}`
}
