import { AppError } from "../../errors.ts"
import { KubeError } from "../../kube/errors.ts"
import { follow } from "../../kube/follow.ts"
import type { Kube } from "../../kube/kube.ts"
import type { OwnerReference } from "../../kube/objects.ts"
import type { Logger } from "../../log.ts"
import { ownerLabel } from "../agents/agent-object.ts"
import { type Lease, type LeaseSpec, leasePath } from "./lease.ts"

export interface RecordsOptions {
  kube: Kube
  namespace: string
  /** Value of the label that tells operators of one cluster apart. */
  ownerMarker: string
  /** Records go with the operator's Deployment. */
  owner: OwnerReference | undefined
  log: Logger
  signal: AbortSignal
}

export type RecordKind = "replica" | "session" | "port-lock"

/** Which record has changed; `kind` is as found in its label. */
export interface ChangedRecord {
  kind: string | undefined
  name: string
}

/** What varies about a record; everything else is given. */
export interface RecordContent {
  annotations: Record<string, string>
  spec: LeaseSpec
}

/** What to do about a record, and what to answer once that is done. `write` undefined leaves it as it is. */
export interface Change<T> {
  write?: RecordContent | "remove"
  answer: T
}

const kindLabel = "podside.dev/record"

/** This replica's own signs of life come through the watch, every two seconds. */
const silenceMs = 30_000

/** Writers that meet at one record take turns; a round of an API server takes milliseconds. */
const maxAttempts = 30
const longestPauseMs = 50

/**
 * What replicas know together: Leases in the operator's namespace, one watch for reading, optimistic concurrency for
 * writing. What this replica has written it also reads, even before the watch tells.
 */
export class Records {
  readonly #options: RecordsOptions
  #seen: ReadonlyMap<string, Lease> = new Map()
  /** Written here and not yet told by the watch; null = removed. */
  readonly #written = new Map<string, { version: bigint; lease: Lease | null }>()
  readonly #listeners = new Set<(changed?: ChangedRecord) => void>()
  /** The latest the watch has told of. */
  #newest = 0n
  /** The last change of a record that is being made here. */
  readonly #turns = new Map<string, Promise<void>>()

  constructor(options: RecordsOptions) {
    this.#options = options
  }

  /** @throws KubeError when Leases may not be listed */
  start(): Promise<void> {
    const { kube, namespace, ownerMarker, signal, log } = this.#options
    return follow<Lease>({
      kube,
      path: leasePath(namespace),
      query: { labelSelector: `${ownerLabel}=${ownerMarker},${kindLabel}` },
      signal,
      log,
      silenceMs,
      onChange: (leases, change, listed) => {
        this.#seen = leases
        const versions = change ? [versionOf(change.object)] : [...leases.values()].map(versionOf)
        for (const version of [...versions, BigInt(listed ?? 0)]) if (version > this.#newest) this.#newest = version
        for (const [name, { version, lease }] of this.#written) {
          const told = leases.get(`${namespace}/${name}`)
          const passed = lease ? this.#newest > version : true
          if (told ? versionOf(told) >= version + (lease ? 0n : 1n) : passed) this.#written.delete(name)
        }
        this.#notify(change && changedRecord(change.object))
      },
    })
  }

  list(kind: RecordKind): Lease[] {
    const told = this.told(kind).filter(({ metadata }) => !this.#written.has(metadata.name))
    const written = [...this.#written.values()].flatMap(({ lease }) => (lease ? [lease] : []))
    return [...told, ...written.filter((lease) => isOf(kind, lease))]
  }

  /** Without what this replica has written and the watch has not told yet. */
  told(kind: RecordKind): Lease[] {
    return [...this.#seen.values()].filter((lease) => isOf(kind, lease))
  }

  /** One of them; undefined too when the watch has not told of it yet. */
  toldOf(name: string): Lease | undefined {
    return this.#seen.get(`${this.#options.namespace}/${name}`)
  }

  /** What the watch has told is how things were at this version of Kubernetes' storage; all replicas count alike. */
  get version(): bigint {
    return this.#newest
  }

  get(name: string): Lease | undefined {
    const written = this.#written.get(name)
    return written ? (written.lease ?? undefined) : this.toldOf(name)
  }

  /** @param listener hears of one record, or of nothing in particular when all may be different */
  onChange(listener: (changed?: ChangedRecord) => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  /** Makes a record that was not there. @returns the one that was, or undefined */
  async create(kind: RecordKind, name: string, content: RecordContent): Promise<Lease | undefined> {
    try {
      await this.#write(kind, name, undefined, content)
      return undefined
    } catch (thrown) {
      if (!(thrown instanceof KubeError && thrown.status === 409)) throw thrown
      return (await this.#read(name)) ?? this.create(kind, name, content)
    }
  }

  /** Decides about a record as it is at this moment, and again when somebody else was quicker. @throws KubeError */
  change<T>(kind: RecordKind, name: string, decide: (current: Lease | undefined) => Change<T>): Promise<T> {
    // Of one replica they wait for each other: only others can be quicker then, and many at once do not wear each other out.
    const last = this.#turns.get(name) ?? Promise.resolve()
    const changed = last.then(() => this.#change(kind, name, decide))
    const turn = changed.then(
      () => {},
      () => {},
    )
    this.#turns.set(name, turn)
    void turn.then(() => this.#turns.get(name) === turn && this.#turns.delete(name))
    return changed
  }

  async #change<T>(kind: RecordKind, name: string, decide: (current: Lease | undefined) => Change<T>): Promise<T> {
    for (let attempt = 0; attempt < maxAttempts; attempt++) {
      const current = await this.#read(name)
      const { write, answer } = decide(current)
      try {
        if (write === "remove") await this.#remove(current)
        else if (write) await this.#write(kind, name, current, write)
        return answer
      } catch (thrown) {
        if (!isConflict(thrown)) throw thrown
        await Bun.sleep(Math.random() * longestPauseMs)
      }
    }
    throw new AppError("record-contested", `Lease "${name}" keeps being changed by others`, { next: "Try again." })
  }

  async #read(name: string): Promise<Lease | undefined> {
    const { kube, namespace } = this.#options
    try {
      return await kube.request<Lease>("GET", leasePath(namespace, name), { what: `get lease ${name}` })
    } catch (thrown) {
      if (thrown instanceof KubeError && thrown.status === 404) return undefined
      throw thrown
    }
  }

  async #write(kind: RecordKind, name: string, current: Lease | undefined, content: RecordContent): Promise<void> {
    const { kube, namespace, ownerMarker, owner } = this.#options
    const body = {
      apiVersion: "coordination.k8s.io/v1",
      kind: "Lease",
      metadata: {
        name,
        namespace,
        labels: { [ownerLabel]: ownerMarker, [kindLabel]: kind },
        annotations: content.annotations,
        ...(owner && { ownerReferences: [owner] }),
        ...(current && { uid: current.metadata.uid, resourceVersion: current.metadata.resourceVersion }),
      },
      spec: content.spec,
    }
    const path = leasePath(namespace, current && name)
    const lease = await kube.request<Lease>(current ? "PUT" : "POST", path, { body, what: `write lease ${name}` })
    this.#remember(kind, name, versionOf(lease), lease)
  }

  async #remove(current: Lease | undefined): Promise<void> {
    if (!current) return
    const { kube, namespace } = this.#options
    const { name, uid, resourceVersion } = current.metadata
    const body = { preconditions: { uid, resourceVersion } }
    await kube.request("DELETE", leasePath(namespace, name), { body, what: `delete lease ${name}` })
    this.#remember(current.metadata.labels?.[kindLabel], name, versionOf(current), null)
  }

  #remember(kind: string | undefined, name: string, version: bigint, lease: Lease | null): void {
    const told = this.toldOf(name)
    const known = told ? versionOf(told) : this.#written.get(name)?.version
    if (lease === null ? told !== undefined : known === undefined || known < version) {
      this.#written.set(name, { version, lease })
    } else this.#written.delete(name)
    this.#notify({ kind, name })
  }

  #notify(changed: ChangedRecord | undefined): void {
    for (const listener of this.#listeners) listener(changed)
  }
}

const isOf = (kind: RecordKind, { metadata }: Lease): boolean => metadata.labels?.[kindLabel] === kind

const changedRecord = ({ metadata }: Lease): ChangedRecord => ({
  kind: metadata.labels?.[kindLabel],
  name: metadata.name,
})

/** Kubernetes' resource versions are numbers that grow; all Leases count together. */
export const versionOf = ({ metadata }: Lease): bigint => BigInt(metadata.resourceVersion ?? 0)

/** Changed, made or removed by somebody else meanwhile. */
function isConflict(thrown: unknown): boolean {
  return thrown instanceof KubeError && (thrown.status === 409 || thrown.status === 404)
}
