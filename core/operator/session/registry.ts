import type { Logger } from "../../log.ts"
import type { Lease } from "../replicas/lease.ts"
import { type ChangedRecord, type Records, versionOf } from "../replicas/records.ts"
import type { Replicas } from "../replicas/replicas.ts"
import { assertMayJoin, type Comer } from "./comer.ts"
import { type LiveSession, type SessionFacts, withPort } from "./live-session.ts"
import type { Relay } from "./relay.ts"
import { SessionExpiry, type SessionTimes } from "./session-expiry.ts"
import { type SessionRecord, sessionOfRecord, sessionUid } from "./session-record.ts"
import { SessionRecords } from "./session-records.ts"
import type { Mode } from "./subscription.ts"

export interface RegistryOptions extends SessionTimes {
  records: Records
  replicas: Replicas
  /** Called once for each session, on the replica that closed it. */
  onClosed(session: SessionFacts, why: string, killed: boolean): void
  log: Logger
}

/** A session as any replica sees it. */
export interface ListedSession extends SessionFacts {
  /** Some living replica has a socket of it. */
  connected: boolean
  /** The same on all replicas, and no other object's. */
  uid: string
  version: bigint
}

/** How long the sockets of a session on another replica may take to go, in milliseconds. */
const evictionMs = 5_000

/**
 * The sessions of all replicas, each a record in Kubernetes; and those that have sockets here. Whoever closes a session
 * writes so into its record, and every replica with sockets of it follows. The id is no secret: whoever names it must also
 * be who opened it.
 */
export class SessionRegistry {
  readonly #options: RegistryOptions
  /** With sockets here, or with one on its way. */
  readonly #here = new Map<bigint, LiveSession>()
  readonly #coming = new Map<bigint, number>()
  /** Their records say that they are here. */
  readonly #marked = new Set<bigint>()
  /** Being put into their records again. */
  readonly #returning = new Set<bigint>()
  /** New, and no socket has come yet. */
  readonly #unopened = new Set<bigint>()
  readonly #told = new WeakSet<Relay>()
  readonly #records: SessionRecords
  readonly #expiry: SessionExpiry
  readonly #stopListening: () => void

  constructor(options: RegistryOptions) {
    this.#options = options
    this.#records = new SessionRecords(options.records, options.log)
    this.#expiry = new SessionExpiry({
      ...options,
      records: () => this.#records.all(),
      connected: (record) => this.#connected(record),
      close: (record, why, isDue) => this.close(record, why, false, isDue),
      forget: ({ number }) =>
        this.#records.change(number, (record) => ({ write: record?.closed && "remove", answer: undefined })),
    })
    this.#stopListening = options.records.onChange((changed) => this.#followClosed(changed))
  }

  /** Sessions with sockets here. */
  get hereCount(): number {
    return this.#here.size
  }

  /**
   * What is known of an id: the session when it is here, its record when it is elsewhere.
   * @throws StatusError 410 for one that was closed, 403 for one of somebody else or for another target
   */
  find(number: bigint, comer: Comer): LiveSession | SessionRecord | undefined {
    const record = this.#records.of(number)
    if (record) assertMayJoin(record, comer)
    const here = this.#here.get(number)
    if (here) assertMayJoin(here, comer)
    return here ?? record
  }

  /**
   * Claims the session for a socket that is about to come: makes its record, or joins the one that is there. Follow with
   * `attach` or `abandon`. What becomes of `session`, which may not be the one that is there, is settled here in any case.
   * @throws like `find`, KubeError
   */
  async join(session: LiveSession, comer: Comer): Promise<{ session: LiveSession; fresh: boolean }> {
    const { number } = session
    const here = this.#here.get(number) ?? session
    if (here !== session) session.agents.close()
    assertMayJoin(here, comer)
    if (!this.#here.has(number)) this.#begin(here)
    this.#count(number, 1)
    try {
      const fresh = !this.#marked.has(number) && (await this.#mark(here, comer))
      return { session: here, fresh }
    } catch (thrown) {
      this.#count(number, -1)
      this.#leave(here)
      throw thrown
    }
  }

  #begin(session: LiveSession): void {
    this.#here.set(session.number, session)
    session.agents.follow().catch((error) => session.log.warn("the target cannot be followed", { error }))
  }

  /** @returns true for the first socket of a new session */
  attach(session: LiveSession, relay: Relay): boolean {
    session.relays.add(relay)
    this.#count(session.number, -1)
    void relay.ended.then(() => {
      session.relays.delete(relay)
      this.#leave(session)
    })
    const isFirst = this.#unopened.delete(session.number)
    this.#tellClosed(session)
    return isFirst
  }

  /** The session has a port: that is written down for the record of its end. */
  hasPort(session: LiveSession, mode: Mode, port: number): void {
    const ports = withPort(session.ports, mode, port)
    if (ports === session.ports) return
    session.ports = ports
    void this.#records.changeLater(session, (record) => {
      const all = record && withPort(record.ports, mode, port)
      return record && !record.closed && all !== record.ports ? { ...record, ports: all! } : undefined
    })
  }

  /**
   * The socket that was to come does not. A session that was made for it is as if it had never been.
   * @returns true when it was made here and stands all the same, for its client has come to another replica
   */
  async abandon(session: LiveSession): Promise<boolean> {
    const { number } = session
    this.#count(number, -1)
    const isUnused = () => !this.#inUse(session) && this.#unopened.has(number)
    try {
      return (
        isUnused() && (await this.#records.change(number, (record) => this.#forgetUnused(number, record, isUnused)))
      )
    } finally {
      this.#leave(session)
    }
  }

  #forgetUnused(number: bigint, record: SessionRecord | undefined, isUnused: () => boolean) {
    // Somebody came while it was asked for.
    if (!record || record.closed || !isUnused()) return { answer: false }
    if (record.replicas.some((id) => id !== this.#options.replicas.id)) {
      this.#marked.add(number)
      return { answer: true }
    }
    // Who comes from now on makes it again.
    this.#marked.delete(number)
    return { write: "remove" as const, answer: false }
  }

  list(): readonly ListedSession[] {
    return this.#records.leases().flatMap((lease) => this.recorded(lease) ?? [])
  }

  /** What a record tells; undefined when it cannot be read, or the session is closed. */
  recorded(lease: Lease | undefined): ListedSession | undefined {
    const record = lease && this.#records.read(lease)
    if (!record || record.closed) return undefined
    const uid = sessionUid(lease)
    return { ...record, connected: this.#connected(record), uid, version: versionOf(lease) }
  }

  /** An id as it stands in a URL: decimal first, then hexadecimal, because digits alone may be either. */
  byText(text: string): ListedSession | undefined {
    const byDecimal = /^\d{1,20}$/.test(text) ? this.#listed(BigInt(text)) : undefined
    return byDecimal ?? (/^[0-9a-fA-F]{1,16}$/.test(text) ? this.#listed(BigInt(`0x${text}`)) : undefined)
  }

  /**
   * Every client of the session is told why, wherever its socket is. @throws KubeError
   * @param killed somebody asked for it
   * @param isDue asked about the session as it is when it is closed
   */
  async close(
    { number }: SessionFacts,
    why: string,
    killed = false,
    isDue: (record: SessionRecord) => boolean = () => true,
  ): Promise<void> {
    const closed = await this.#records.change(number, (record) => {
      if (!record || record.closed || !isDue(record)) return { answer: undefined }
      return { write: { ...record, closed: { why } }, answer: record }
    })
    if (closed) this.#options.onClosed(closed, why, killed)
  }

  /** For somebody who wants those ended that nobody is connected to: one whose client has come back by then stays. */
  closeInactive(session: SessionFacts, why: string): Promise<void> {
    return this.close(session, why, true, (record) => !this.#connected(record))
  }

  /** Closes a session and waits until its sockets are gone. */
  async evict(id: string, why: string): Promise<void> {
    const session = this.#listed(BigInt(`0x${id}`))
    if (!session) return
    const { promise, resolve } = Promise.withResolvers<void>()
    const check = () => {
      const record = this.#records.of(session.number)
      if (!record || !this.#connected(record)) resolve()
    }
    const stop = this.#options.records.onChange(check)
    const timer = setTimeout(resolve, evictionMs)
    try {
      await this.close(session, why, true)
      check()
      await promise
    } finally {
      clearTimeout(timer)
      stop()
    }
  }

  /** Ends the sockets that are here. The sessions stand: their clients come back to another replica, or to the next operator. */
  stop(): void {
    this.#expiry.stop()
    this.#stopListening()
    for (const { relays, agents } of this.#here.values()) {
      for (const relay of relays) relay.drop()
      agents.close()
    }
    this.#here.clear()
  }

  // ---- the record

  /** @returns true when the session is new */
  async #mark(session: LiveSession, comer: Comer): Promise<boolean> {
    const { replicas } = this.#options
    const { number } = session
    const own = { ...session, replicas: [replicas.id] }
    const known = this.#records.lease(number) ?? (await this.#records.create(own))
    const fresh =
      known === undefined ||
      (await this.#records.change(number, (record) => {
        if (!record) return { write: own, answer: true }
        assertMayJoin(record, comer)
        session.info = { ...session.info, openedAt: record.info.openedAt }
        if (record.replicas.includes(replicas.id)) return { answer: false }
        const living = record.replicas.filter((id) => replicas.alive(id))
        return { write: { ...record, replicas: [...living, replicas.id] }, answer: false }
      }))
    this.#marked.add(number)
    if (fresh) this.#unopened.add(number)
    return fresh
  }

  #leave(session: LiveSession): void {
    const { number } = session
    if (this.#inUse(session) || this.#here.get(number) !== session) return
    this.#here.delete(number)
    this.#unopened.delete(number)
    session.agents.close()
    if (!this.#marked.delete(number)) return
    const { replicas } = this.#options
    void this.#records.changeLater(session, (record) => {
      // A client that was quick has come back already.
      if (!record || this.#here.has(number)) return undefined
      return { ...record, replicas: record.replicas.filter((id) => id !== replicas.id) }
    })
  }

  #listed(number: bigint): ListedSession | undefined {
    return this.recorded(this.#records.lease(number))
  }

  /** What is here this replica knows better than the record: while the API server is away, that cannot be changed. */
  #connected({ number, replicas: ids }: SessionRecord): boolean {
    const { replicas } = this.#options
    return this.#here.has(number) || ids.some((id) => id !== replicas.id && replicas.alive(id))
  }

  #inUse({ number, relays }: LiveSession): boolean {
    return relays.size > 0 || this.#coming.has(number)
  }

  #count(number: bigint, step: 1 | -1): void {
    const count = (this.#coming.get(number) ?? 0) + step
    if (count > 0) this.#coming.set(number, count)
    else this.#coming.delete(number)
  }

  // ---- the end

  #followClosed(changed: ChangedRecord | undefined): void {
    if (!changed) {
      for (const session of this.#here.values()) this.#follow(session)
      return
    }
    const number = sessionOfRecord(changed.name)
    const session = number === undefined ? undefined : this.#here.get(number)
    if (session) this.#follow(session)
  }

  #follow(session: LiveSession): void {
    this.#tellClosed(session)
    this.#return(session)
  }

  /** Another replica took this one for dead and left it out of the record; its sockets live on. */
  #return(session: LiveSession): void {
    const { number, relays } = session
    const { replicas } = this.#options
    const isMissing = (record: SessionRecord | undefined) => {
      return record !== undefined && !record.closed && !record.replicas.includes(replicas.id) && relays.size > 0
    }
    if (!this.#marked.has(number) || this.#returning.has(number) || !isMissing(this.#records.of(number))) return
    this.#returning.add(number)
    void this.#records
      .changeLater(session, (record) =>
        record && isMissing(record) ? { ...record, replicas: [...record.replicas, replicas.id] } : undefined,
      )
      .then(() => this.#returning.delete(number))
  }

  #tellClosed({ number, relays }: LiveSession): void {
    const closed = relays.size > 0 && this.#records.of(number)?.closed
    if (!closed) return
    for (const relay of relays) {
      if (this.#told.has(relay)) continue
      this.#told.add(relay)
      relay.closeWith(closed.why)
    }
  }
}
