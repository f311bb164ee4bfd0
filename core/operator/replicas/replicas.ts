import { randomBytes } from "node:crypto"
import type { Logger } from "../../log.ts"
import { type Lease, microTime } from "./lease.ts"
import type { Records } from "./records.ts"

/** Between two signs of life, in milliseconds. */
const usualBeatMs = 2_000
/** A replica is dead after so many beats of this one without any of its own: 10 to 12 s. */
const deadAfterBeats = 6
/** Its Lease is removed after so many: nothing that names it is left by then. */
const forgottenAfterBeats = 60

export const replicaLeaseSeconds = (deadAfterBeats * usualBeatMs) / 1000

/**
 * Which replicas live. Each renews a Lease. Time is counted in own signs of life that came back through the watch: a
 * replica that was stopped, or cut off from the API server together with all others, takes nobody for dead because of it.
 */
export class Replicas {
  /** One for each process: a restarted replica is another one. Fits into names of labels and annotations. */
  readonly id: string
  readonly #records: Records
  readonly #log: Logger
  readonly #beatMs: number
  readonly #last = new Map<string, { renewTime: string | undefined; beat: number }>()
  readonly #acquired = microTime()
  #beats = 0
  #timer: ReturnType<typeof setInterval> | undefined
  #beating = false

  /** @param beatMs between two signs of life */
  constructor(records: Records, podName: string | undefined, log: Logger, beatMs = usualBeatMs) {
    this.#records = records
    this.#log = log
    this.#beatMs = beatMs
    this.id = `${(podName ?? "operator").slice(0, 50)}-${randomBytes(4).toString("hex")}`
  }

  /** @throws KubeError when Leases may not be written */
  async start(): Promise<void> {
    this.#records.onChange((changed) => {
      if (!changed || changed.kind === "replica") this.#look()
    })
    await this.#beat()
    this.#look()
    this.#timer = setInterval(
      () => void this.#beat().catch((error) => this.#log.warn("no sign of life", { error })),
      this.#beatMs,
    )
  }

  /** The Lease stays and runs out: sessions and port locks have that long to come back on another replica. */
  stop(): void {
    clearInterval(this.#timer)
  }

  alive(id: string): boolean {
    const last = this.#last.get(id)
    return id === this.id || (last !== undefined && this.#beats - last.beat < deadAfterBeats)
  }

  async #beat(): Promise<void> {
    if (this.#beating) return
    this.#beating = true
    try {
      const content = {
        annotations: {},
        spec: {
          holderIdentity: this.id,
          leaseDurationSeconds: replicaLeaseSeconds,
          acquireTime: this.#acquired,
          renewTime: microTime(),
        },
      }
      await this.#records.change("replica", nameOf(this.id), () => ({ write: content, answer: undefined }))
      await this.#forget()
    } finally {
      this.#beating = false
    }
  }

  #look(): void {
    const leases = this.#records.told("replica")
    const present = new Set<string>()
    for (const lease of leases) {
      const id = lease.spec?.holderIdentity
      if (!id) continue
      present.add(id)
      const { renewTime } = lease.spec ?? {}
      if (this.#last.get(id)?.renewTime === renewTime) continue
      if (id === this.id) this.#beats++
      this.#last.set(id, { renewTime, beat: this.#beats })
    }
    for (const id of this.#last.keys()) if (!present.has(id)) this.#last.delete(id)
  }

  async #forget(): Promise<void> {
    for (const { metadata, spec } of this.#records.list("replica")) {
      const last = this.#last.get(spec?.holderIdentity ?? "")
      if (!last || this.#beats - last.beat < forgottenAfterBeats) continue
      const unchanged = (current: Lease | undefined) => current?.spec?.renewTime === last.renewTime
      await this.#records.change("replica", metadata.name, (current) => ({
        write: unchanged(current) ? "remove" : undefined,
        answer: undefined,
      }))
    }
  }
}

const nameOf = (id: string) => `podside-replica-${id}`
