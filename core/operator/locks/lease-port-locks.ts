import { createHash } from "node:crypto"
import * as v from "valibot"
import type { Logger } from "../../log.ts"
import { type Lease, microTime } from "../replicas/lease.ts"
import type { RecordContent, Records } from "../replicas/records.ts"
import { type Replicas, replicaLeaseSeconds } from "../replicas/replicas.ts"
import {
  clash,
  type HoldEnd,
  type LockAnswer,
  namespaceOf,
  type OnConcurrentSteal,
  type PortLock,
  type PortLocks,
} from "./port-locks.ts"

export interface LeasePortLocksOptions {
  records: Records
  replicas: Replicas
  /** Ends a session that is in the way of an `override`, on whichever replica it is; resolves when its sockets are gone. */
  evict(sessionId: string, why: string): Promise<void>
  log: Logger
}

const holdsSchema = v.object({
  port: v.number(),
  /** Names of the pods of each target that is held. */
  targets: v.record(v.string(), v.array(v.string())),
  holders: v.array(
    v.object({
      sessionId: v.string(),
      targetKey: v.string(),
      mode: v.picklist(["mirror", "steal"]),
      filter: v.optional(v.string()),
      replica: v.string(),
    }),
  ),
})
type Holds = v.InferOutput<typeof holdsSchema>

const kind = "port-lock"
const annotation = "podside.dev/port-lock"

/** How often what dead replicas held is cleared away, in milliseconds. Nobody waits for it: dead holders do not count. */
const sweepMs = 5_000

type LockName = Pick<PortLock, "sessionId" | "targetKey" | "port">
type Holder = PortLock & { replica: string }

interface Followed {
  lock: PortLock
  onEnd(how: HoldEnd): void
  /** The Lease when it was last looked at. */
  seen: Lease | undefined
}

/**
 * Port locks in Leases, one for each port number of a namespace: targets may share pods, and only what stands in one object
 * is decided at once. Holders stand in an annotation; a hold counts while its replica lives.
 */
export class LeasePortLocks implements PortLocks {
  readonly #options: LeasePortLocksOptions
  readonly #parsed = new WeakMap<Lease, Holds | undefined>()
  /** By Lease and session. */
  readonly #followed = new Map<string, Followed>()
  /** What could not be given back while the API server was away, by Lease and session: done when it is there again. */
  readonly #owed = new Map<string, () => Promise<void>>()
  readonly #sweep: ReturnType<typeof setInterval>
  readonly #stopListening: () => void
  #stopped = false
  #clearing = false

  constructor(options: LeasePortLocksOptions) {
    this.#options = options
    this.#sweep = setInterval(() => void this.#clearInTurn(), sweepMs)
    this.#stopListening = options.records.onChange((changed) => {
      if (!changed || changed.kind === kind) this.#look()
    })
  }

  /** What is held stays so until this replica's Lease runs out: its sessions come back on another one, and want it. */
  stop(): void {
    this.#stopped = true
    clearInterval(this.#sweep)
    this.#stopListening()
  }

  async acquire(lock: PortLock, onConcurrent: OnConcurrentSteal): Promise<LockAnswer> {
    const { records, replicas, evict } = this.#options
    const evicted = new Set<string>()
    const answer = await records.change<LockAnswer>(kind, nameOf(lock), (current) => {
      this.#owed.delete(followKey(lock))
      evicted.clear()
      const others = this.recorded(current).filter(({ sessionId }) => sessionId !== lock.sessionId)
      const inTheWay = others.filter((other) => clash(lock, other))
      const [holder] = inTheWay
      if (holder && onConcurrent === "abort") return { answer: { granted: false, holder } }
      const override = onConcurrent === "override"
      if (override) for (const { sessionId } of inTheWay) evicted.add(sessionId)
      const staying = override ? others.filter((other) => !inTheWay.includes(other)) : others
      const write = content(lock.port, [...staying, { ...lock, replica: replicas.id }], current)
      const known = current?.metadata.annotations?.[annotation] === write.annotations[annotation]
      return { write: known ? undefined : write, answer: { granted: true } }
    })
    const why = `another session took port ${lock.port} over`
    await Promise.all([...evicted].map((sessionId) => evict(sessionId, why)))
    return answer
  }

  follow(lock: PortLock, onEnd: (how: HoldEnd) => void): void {
    this.#followed.set(followKey(lock), { lock, onEnd, seen: undefined })
    this.#look()
  }

  async release(lock: LockName, needed = () => false): Promise<void> {
    const own = ({ sessionId, replica }: Holder) =>
      sessionId === lock.sessionId && replica === this.#options.replicas.id
    await this.#giveBack(lock, () =>
      this.#removeHolders(lock, own, () => {
        if (this.#stopped || needed()) return false
        this.#followed.delete(followKey(lock))
        return true
      }),
    )
  }

  async releaseAll(sessionId: string): Promise<void> {
    for (const [key, { lock }] of this.#followed) if (lock.sessionId === sessionId) this.#followed.delete(key)
    const held = this.list().filter((lock) => lock.sessionId === sessionId)
    const ended = (holder: Holder) => holder.sessionId === sessionId
    await Promise.all(held.map((lock) => this.#giveBack(lock, () => this.#removeHolders(lock, ended))))
  }

  async #giveBack(lock: LockName, work: () => Promise<void>): Promise<void> {
    const key = followKey(lock)
    this.#owed.delete(key)
    try {
      await work()
    } catch (thrown) {
      this.#owed.set(key, () => this.#giveBack(lock, work))
      throw thrown
    }
  }

  list(): readonly PortLock[] {
    return this.#options.records.list(kind).flatMap((lease) => this.recorded(lease))
  }

  /** What a record tells, as far as it counts. */
  recorded(lease: Lease | undefined): Holder[] {
    const holds = lease && this.#read(lease)
    if (!holds) return []
    const { targets, port, holders } = holds
    return holders
      .filter(({ replica }) => this.#options.replicas.alive(replica))
      .map((holder) => ({ ...holder, port, pods: targets[holder.targetKey] ?? [] }))
  }

  async #removeHolders(
    lock: Pick<PortLock, "targetKey" | "port">,
    gone: (holder: Holder) => boolean,
    may = () => true,
  ): Promise<void> {
    await this.#options.records.change(kind, nameOf(lock), (current) => {
      if (!may() || !current) return { answer: undefined }
      const held = this.recorded(current)
      const left = held.filter((holder) => !gone(holder))
      if (left.length === held.length && left.length > 0) return { answer: undefined }
      return { write: left.length > 0 ? content(lock.port, left, current) : "remove", answer: undefined }
    })
  }

  /** An API server that is slow must not have more to do with each sweep. */
  async #clearInTurn(): Promise<void> {
    if (this.#clearing) return
    this.#clearing = true
    await this.#clear().finally(() => {
      this.#clearing = false
    })
  }

  async #clear(): Promise<void> {
    const { records, log } = this.#options
    for (const giveBack of [...this.#owed.values()])
      await giveBack().catch((error) => log.warn("a port could not be unlocked yet", { error }))
    for (const lease of records.list(kind)) {
      const held = this.#read(lease)
      if (held && this.recorded(lease).length === held.holders.length) continue
      const { name } = lease.metadata
      await records
        .change(kind, name, (current) => {
          const left = this.recorded(current)
          const [first] = left
          return { write: first ? content(first.port, left, current) : "remove", answer: undefined }
        })
        .catch((error) => log.warn("a port lock of a dead replica could not be removed", { lease: name, error }))
    }
  }

  /** Has another replica changed what was granted here? */
  #look(): void {
    const { records, replicas } = this.#options
    for (const [key, followed] of this.#followed) {
      const { lock, onEnd, seen } = followed
      const lease = records.get(nameOf(lock))
      if (lease && lease === seen) continue
      followed.seen = lease
      const holder = lease && this.#read(lease)?.holders.find(({ sessionId }) => sessionId === lock.sessionId)
      if (holder?.replica === replicas.id) continue
      this.#followed.delete(key)
      onEnd(holder ? "moved" : "lost")
    }
  }

  #read(lease: Lease): Holds | undefined {
    if (this.#parsed.has(lease)) return this.#parsed.get(lease)
    let holds: Holds | undefined
    try {
      holds = v.parse(holdsSchema, JSON.parse(lease.metadata.annotations?.[annotation] ?? ""))
    } catch (error) {
      this.#options.log.warn("a port lock cannot be read and does not count", { lease: lease.metadata.name, error })
    }
    this.#parsed.set(lease, holds)
    return holds
  }
}

const followKey = (lock: LockName): string => `${nameOf(lock)} ${lock.sessionId}`

function nameOf(lock: Pick<PortLock, "targetKey" | "port">): string {
  const text = `${namespaceOf(lock)} ${lock.port}`
  return `podside-port-${createHash("sha256").update(text).digest("hex").slice(0, 32)}`
}

function content(port: number, held: readonly Holder[], current: Lease | undefined): RecordContent {
  const holders = held.map(({ sessionId, targetKey, mode, filter, replica }) => {
    return { sessionId, targetKey, mode, filter, replica }
  })
  const targets = Object.fromEntries(held.map(({ targetKey, pods }) => [targetKey, [...pods]]))
  const first = holders.find(({ filter }) => filter === undefined) ?? holders[0]
  const now = microTime()
  return {
    annotations: { [annotation]: JSON.stringify({ port, targets, holders } satisfies Holds) },
    spec: {
      holderIdentity: first && `${first.replica}/${first.sessionId}`,
      leaseDurationSeconds: replicaLeaseSeconds,
      acquireTime: current?.spec?.acquireTime ?? now,
      renewTime: now,
    },
  }
}
