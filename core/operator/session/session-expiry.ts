import type { Logger } from "../../log.ts"
import type { SessionRecord } from "./session-record.ts"

export interface SessionTimes {
  /** A session without sockets is closed after this long. */
  unusedMs: number
  /** A session whose replica died without closing its sockets: the client may notice that by silence only. */
  lostMs: number
  /** Longest life of a session; 0 = no limit. */
  maxLifeMs: number
}

export interface SessionExpiryOptions extends SessionTimes {
  records(): readonly SessionRecord[]
  /** Some living replica has a socket of it. */
  connected(record: SessionRecord): boolean
  /** @param isDue whether that still holds for the session as it is in the end: its client may just have come back */
  close(record: SessionRecord, why: string, isDue: (now: SessionRecord) => boolean): Promise<void>
  /** Removes the record of a closed session. */
  forget(record: SessionRecord): Promise<void>
  log: Logger
}

type RestState = "closed" | "unused" | "lost"

/** How often sessions are looked at, in milliseconds. */
const sweepMs = 1_000
/** How long a closed session is remembered, so that a client that comes back is told to stop trying: it does so for 70 s. */
const rememberedMs = 300_000
/** So many closed sessions are remembered; of more, those that were closed first are forgotten. */
export const maxRemembered = 2_000

/** Closes what nobody uses or what is too old, and forgets what has been closed for long or is too much. Any replica may. */
export class SessionExpiry {
  readonly #options: SessionExpiryOptions
  /** Since when a record has been as it is, in milliseconds of this process: clocks of replicas need not agree. */
  readonly #since = new Map<bigint, { state: RestState; at: number }>()
  /** Being closed or forgotten. */
  readonly #changing = new Set<bigint>()
  readonly #sweep: ReturnType<typeof setInterval>

  constructor(options: SessionExpiryOptions) {
    this.#options = options
    this.#sweep = setInterval(() => this.#look(), sweepMs)
  }

  stop(): void {
    clearInterval(this.#sweep)
  }

  #look(): void {
    const { records, forget } = this.#options
    const now = performance.now()
    const present = new Set<bigint>()
    const closed: { record: SessionRecord; restMs: number }[] = []
    for (const record of records()) {
      present.add(record.number)
      const state = this.#state(record)
      const restMs = this.#restMs(record.number, state, now)
      if (state === "closed") closed.push({ record, restMs })
      else this.#judge(record, state, restMs)
    }
    for (const number of this.#since.keys()) if (!present.has(number)) this.#since.delete(number)
    closed.sort((one, other) => other.restMs - one.restMs)
    const surplus = closed.length - maxRemembered
    for (const [index, { record, restMs }] of closed.entries()) {
      if (index < surplus || restMs >= rememberedMs) this.#change(record, () => forget(record))
    }
  }

  /** One at a time: an API server that is slow would have one more for each look to do. */
  #change({ info, number }: SessionRecord, change: () => Promise<void>): void {
    if (this.#changing.has(number)) return
    this.#changing.add(number)
    change()
      .catch((error) => this.#options.log.warn("a session's record could not be changed", { session: info.id, error }))
      .finally(() => this.#changing.delete(number))
  }

  #judge(record: SessionRecord, state: "unused" | "lost" | undefined, restMs: number): void {
    const { unusedMs, lostMs, maxLifeMs, close } = this.#options
    if (state && restMs >= (state === "lost" ? lostMs : unusedMs)) {
      const isDue = (now: SessionRecord) => this.#state(now) === state
      this.#change(record, () => close(record, "nobody was connected to it any more", isDue))
    } else if (maxLifeMs > 0 && Date.now() - record.info.openedAt.getTime() >= maxLifeMs)
      this.#change(record, () => close(record, "it reached the longest life the operator allows", () => true))
  }

  /** Undefined for a session that is used. */
  #state(record: SessionRecord): RestState | undefined {
    if (record.closed) return "closed"
    if (this.#options.connected(record)) return undefined
    return record.replicas.length > 0 ? "lost" : "unused"
  }

  /** For how long a session has been so, in milliseconds; 0 for one that is used. */
  #restMs(number: bigint, state: RestState | undefined, now: number): number {
    if (!state) this.#since.delete(number)
    else if (this.#since.get(number)?.state !== state) this.#since.set(number, { state, at: now })
    return state ? now - this.#since.get(number)!.at : 0
  }
}
