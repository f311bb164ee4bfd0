import type { Logger } from "../../log.ts"
import { forbidden, gone } from "../api/status.ts"
import { formatSessionId, type LiveSession } from "./live-session.ts"
import type { Relay } from "./relay.ts"

export interface RegistryOptions {
  /** A session without sockets is closed after this long. */
  unusedMs: number
  /** Longest life of a session; 0 = no limit. */
  maxLifeMs: number
  /** Called once for each session, after its sockets were told. */
  onClosed(session: LiveSession, why: string, killed: boolean): void
  log: Logger
}

/** How often sessions are looked at, in milliseconds. */
const sweepMs = 1_000
/** Ids of closed sessions remembered, so that a client that comes back is told to stop trying. */
const maxRemembered = 10_000

/** The sessions of this replica, by id. The id is no secret: whoever names it must also be who opened it. */
export class SessionRegistry {
  readonly #options: RegistryOptions
  readonly #sessions = new Map<bigint, LiveSession>()
  readonly #closed = new Set<bigint>()
  readonly #sweep: ReturnType<typeof setInterval>

  constructor(options: RegistryOptions) {
    this.#options = options
    this.#sweep = setInterval(() => this.#closeOld(), sweepMs)
  }

  /** @throws StatusError 410 for an id that was closed, 403 for one that belongs to somebody else */
  find(number: bigint, user: string, userId: string): LiveSession | undefined {
    if (this.#closed.has(number)) throw gone(`Session ${formatSessionId(number)} is closed`)
    const session = this.#sessions.get(number)
    if (session && (session.info.identity.user !== user || session.userId !== userId)) {
      throw forbidden(`Session ${formatSessionId(number)} belongs to another user or another machine`)
    }
    return session
  }

  add(session: LiveSession): void {
    this.#sessions.set(session.number, session)
  }

  attach(session: LiveSession, relay: Relay): void {
    session.relays.add(relay)
    session.unusedSince = undefined
    void relay.ended.then(() => {
      session.relays.delete(relay)
      if (session.relays.size === 0) session.unusedSince = Date.now()
    })
  }

  list(): readonly LiveSession[] {
    return [...this.#sessions.values()]
  }

  /** An id as it stands in a URL: decimal first, then hexadecimal, because digits alone may be either. */
  byText(text: string): LiveSession | undefined {
    const byDecimal = /^\d{1,20}$/.test(text) ? this.#sessions.get(BigInt(text)) : undefined
    return byDecimal ?? (/^[0-9a-fA-F]{1,16}$/.test(text) ? this.#sessions.get(BigInt(`0x${text}`)) : undefined)
  }

  /** Tells every client of the session why, ends its sockets and forgets it. `killed`: somebody asked for it. */
  close(session: LiveSession, why: string, killed = false): void {
    if (!this.#sessions.delete(session.number)) return
    this.#remember(session.number)
    for (const relay of session.relays) relay.closeWith(why)
    session.agents.close()
    this.#options.onClosed(session, why, killed)
  }

  /** Drops every socket without a word: a client that hears no reason comes back, and finds another replica. */
  stop(): void {
    clearInterval(this.#sweep)
    for (const session of this.#sessions.values()) {
      for (const relay of session.relays) relay.drop()
      session.agents.close()
    }
    this.#sessions.clear()
  }

  #closeOld(): void {
    const { unusedMs, maxLifeMs } = this.#options
    const now = Date.now()
    for (const session of this.#sessions.values()) {
      if (session.unusedSince !== undefined && now - session.unusedSince >= unusedMs)
        this.close(session, "it was not used")
      else if (maxLifeMs > 0 && now - session.info.openedAt.getTime() >= maxLifeMs) {
        this.close(session, "it reached the longest life the operator allows")
      }
    }
  }

  #remember(number: bigint): void {
    const oldest = this.#closed.size >= maxRemembered ? this.#closed.values().next().value : undefined
    if (oldest !== undefined) this.#closed.delete(oldest)
    this.#closed.add(number)
  }
}
