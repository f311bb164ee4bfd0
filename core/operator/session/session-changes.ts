import { endsWithin } from "../../time-limit.ts"
import type { PortLock } from "../locks/port-locks.ts"
import type { Lease } from "../replicas/lease.ts"
import type { ChangedRecord, Records } from "../replicas/records.ts"
import { formatSessionId, sessionSpec } from "./live-session.ts"
import type { ListedSession } from "./registry.ts"
import { sessionOfRecord, sessionRecordName } from "./session-record.ts"

/** A session as those who watch see it; `version` counts its port locks, too. */
export interface SessionView extends ListedSession {
  locks: readonly PortLock[]
}

export interface SessionChange {
  type: "ADDED" | "MODIFIED" | "DELETED"
  /** As it is, or was when it ended. */
  view: SessionView
  /** Kubernetes' version of the change. A record about several sessions changes them in one. */
  version: bigint
}

export interface SessionChangesOptions {
  records: Pick<Records, "onChange" | "told" | "toldOf" | "version">
  /** What a session's record tells; undefined when there is no such session. */
  session(lease: Lease | undefined): ListedSession | undefined
  /** What a port's record tells. */
  locks(lease: Lease | undefined): readonly PortLock[]
}

/** So many of the latest changes are kept for those who are late. Who missed more has to list again. */
export const keptChanges = 1_000

/**
 * What changes about sessions, in the order of Kubernetes' own versions, as the watch of records tells: every replica tells
 * the same, and who leaves one goes on at another.
 */
export class SessionChanges {
  readonly #options: SessionChangesOptions
  readonly #views = new Map<string, SessionView>()
  readonly #locks = new Map<string, readonly PortLock[]>()
  readonly #listeners = new Set<() => void>()
  readonly #stopListening: () => void
  #changes: SessionChange[] = []
  /** Number of the first change that is kept, of all there ever were. */
  #first = 0
  /** Changes up to this version are not kept. */
  #forgotten: bigint
  #era = 0

  constructor(options: SessionChangesOptions) {
    this.#options = options
    this.#forgotten = options.records.version
    this.#stopListening = options.records.onChange((changed) => (changed ? this.#follow(changed) : this.#startOver()))
    this.#startOver()
  }

  /** Who watches is told that this is the end. */
  stop(): void {
    this.#stopListening()
    this.#startOver()
  }

  /** Everything up to this has been told. */
  get version(): bigint {
    return this.#options.records.version
  }

  /** Changes that cannot be told of have happened when it is another one: whoever watches has to list again. */
  get era(): number {
    return this.#era
  }

  /** Number that the next change will have. */
  get next(): number {
    return this.#first + this.#changes.length
  }

  views(): Iterable<SessionView> {
    return this.#views.values()
  }

  /** Version at which a session was changed last, as far as that was told. */
  versionOf(id: string): bigint | undefined {
    return this.#views.get(id)?.version
  }

  /** Number of the first change after a version; undefined when not all of those are kept. */
  after(version: bigint): number | undefined {
    if (version < this.#forgotten) return undefined
    const index = this.#changes.findIndex((change) => change.version > version)
    return index < 0 ? this.next : this.#first + index
  }

  /** Changes from a number on, `most` at once; undefined when that one is not kept any more. */
  from(number: number, most: number): readonly SessionChange[] | undefined {
    return number < this.#first ? undefined : this.#changes.slice(number - this.#first, number - this.#first + most)
  }

  /** @param listener hears that something was told, be it only that time goes on */
  onChange(listener: () => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  /** Waits until everything up to a version has been told. @returns false when that takes longer */
  async reached(version: bigint, withinMs: number): Promise<boolean> {
    if (this.version >= version) return true
    const { promise, resolve } = Promise.withResolvers<void>()
    const stop = this.onChange(() => this.version >= version && resolve())
    const isThere = await endsWithin(promise, withinMs)
    stop()
    return isThere
  }

  #follow({ kind, name }: ChangedRecord): void {
    const { records, locks } = this.#options
    const lease = records.toldOf(name)
    const number = sessionOfRecord(name)
    if (number !== undefined) this.#look(formatSessionId(number), lease)
    else if (kind === "port-lock") {
      const [before, now] = [this.#locks.get(name) ?? [], locks(lease)]
      if (lease) this.#locks.set(name, now)
      else this.#locks.delete(name)
      for (const id of new Set([...before, ...now].map(({ sessionId }) => sessionId))) this.#look(id)
    }
    for (const listener of this.#listeners) listener()
  }

  #look(id: string, lease = this.#options.records.toldOf(sessionRecordName(BigInt(`0x${id}`)))): void {
    const before = this.#views.get(id)
    const { version } = this
    const view = this.#viewOf(lease, version)
    if (view) this.#views.set(id, before && isSame(before, view) ? { ...view, version: before.version } : view)
    else this.#views.delete(id)
    if (view && !before) this.#keep({ type: "ADDED", view, version })
    else if (view && before && !isSame(before, view)) this.#keep({ type: "MODIFIED", view, version })
    else if (before && !view) this.#keep({ type: "DELETED", view: { ...before, version }, version })
  }

  #viewOf(lease: Lease | undefined, version: bigint): SessionView | undefined {
    const session = this.#options.session(lease)
    if (!session) return undefined
    const own = [...this.#locks.values()].flat().filter(({ sessionId }) => sessionId === session.info.id)
    return { ...session, locks: own, version }
  }

  #keep(change: SessionChange): void {
    this.#changes.push(change)
    // By halves: leaving out one at a time would move all the others each time.
    if (this.#changes.length < 2 * keptChanges) return
    this.#forgotten = this.#changes[keptChanges - 1]!.version
    this.#changes = this.#changes.slice(keptChanges)
    this.#first += keptChanges
  }

  #startOver(): void {
    const { records, locks, session } = this.#options
    this.#era++
    this.#first = this.next
    this.#changes = []
    this.#forgotten = records.version
    this.#locks.clear()
    for (const lease of records.told("port-lock")) this.#locks.set(lease.metadata.name, locks(lease))
    this.#views.clear()
    for (const lease of records.told("session")) {
      const version = session(lease)?.version
      const view = version === undefined ? undefined : this.#viewOf(lease, version)
      if (view) this.#views.set(view.info.id, view)
    }
    for (const listener of this.#listeners) listener()
  }
}

/** To whoever looks at it: its age is not what it is. */
function isSame(one: SessionView, other: SessionView): boolean {
  return one.uid === other.uid && Bun.deepEquals(sessionSpec(one, one.locks, 0), sessionSpec(other, other.locks, 0))
}
