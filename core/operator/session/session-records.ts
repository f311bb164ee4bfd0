import type { Logger } from "../../log.ts"
import type { Lease } from "../replicas/lease.ts"
import type { Records } from "../replicas/records.ts"
import { readSessionRecord, type SessionRecord, sessionRecordContent, sessionRecordName } from "./session-record.ts"

/** What becomes of a record. Without `write` it stays as it is. */
export interface RecordChange<T> {
  write?: SessionRecord | "remove" | undefined
  answer: T
}

/** Sessions' records in Kubernetes, by the sessions' numbers. One that cannot be read is logged, and as if it were not there. */
export class SessionRecords {
  readonly #records: Records
  readonly #log: Logger
  readonly #parsed = new WeakMap<Lease, SessionRecord | undefined>()

  constructor(records: Records, log: Logger) {
    this.#records = records
    this.#log = log
  }

  all(): SessionRecord[] {
    return this.leases().flatMap((lease) => this.read(lease) ?? [])
  }

  leases(): Lease[] {
    return this.#records.list("session")
  }

  lease(number: bigint): Lease | undefined {
    return this.#records.get(sessionRecordName(number))
  }

  of(number: bigint): SessionRecord | undefined {
    const lease = this.lease(number)
    return lease && this.read(lease)
  }

  read(lease: Lease): SessionRecord | undefined {
    if (this.#parsed.has(lease)) return this.#parsed.get(lease)
    let record: SessionRecord | undefined
    try {
      record = readSessionRecord(lease)
    } catch (error) {
      this.#log.warn("a session's record cannot be read", { lease: lease.metadata.name, error })
    }
    this.#parsed.set(lease, record)
    return record
  }

  /** Makes a record that was not there. @returns the one that was, or undefined @throws KubeError */
  create(record: SessionRecord): Promise<Lease | undefined> {
    return this.#records.create("session", sessionRecordName(record.number), sessionRecordContent(record))
  }

  /** `decide` is asked again when somebody else was quicker. @throws KubeError, and what `decide` throws */
  change<T>(number: bigint, decide: (record: SessionRecord | undefined) => RecordChange<T>): Promise<T> {
    return this.#records.change("session", sessionRecordName(number), (lease) => {
      const { write, answer } = decide(lease && this.read(lease))
      return { write: write && write !== "remove" ? sessionRecordContent(write) : write, answer }
    })
  }

  /** For what is put right later when it cannot be written now. */
  async changeLater(
    { number, info }: Pick<SessionRecord, "number" | "info">,
    decide: (record: SessionRecord | undefined) => SessionRecord | undefined,
  ): Promise<void> {
    try {
      await this.change(number, (record) => ({ write: decide(record), answer: undefined }))
    } catch (error) {
      this.#log.warn("a session's record could not be changed", { session: info.id, error })
    }
  }
}
