import { DirectoryReader } from "../../core/linux/directory.ts"
import { syscall } from "../../core/linux/syscall.ts"
import type { AgentMetrics } from "../metrics.ts"
import { RefusedRequest } from "../response-error.ts"

/** Open at once for one client; the process has one limit for all of them. */
export const maxDescriptors = 65_536

/** What a remote descriptor stands for. `fd` is the agent's own one. */
export type Descriptor =
  | { kind: "file"; fd: number }
  /** `path` is what the client asked for; relative requests are resolved again from the root, so that no link can lead out. */
  | { kind: "folder"; fd: number; path: string; listing?: FolderListing }
  | { kind: "stream"; listing: FolderListing }

/** A way through the entries of a folder with its own descriptor. */
export interface FolderListing {
  fd: number
  reader: DirectoryReader
  position: bigint
}

export function newListing(fd: number): FolderListing {
  return { fd, reader: new DirectoryReader(fd), position: 0n }
}

/** Remote descriptors of one client: numbers count up from 0 and are never used again. */
export class Descriptors {
  readonly #open = new Map<bigint, Descriptor>()
  readonly #metrics: AgentMetrics
  #next = 0n

  constructor(metrics: AgentMetrics) {
    this.#metrics = metrics
  }

  /** Takes over `descriptor`. @throws RefusedRequest (it is closed then) */
  add(descriptor: Descriptor): bigint {
    if (this.#open.size >= maxDescriptors) {
      release(descriptor)
      throw new RefusedRequest({ kind: "IdsExhausted", value: "open" })
    }
    const id = this.#next++
    this.#open.set(id, descriptor)
    this.#metrics.add("mirrord_agent_open_fd_count", 1)
    return id
  }

  /** @throws RefusedRequest for a number that is unknown or does not stand for a file or folder */
  openFile(id: bigint): Extract<Descriptor, { kind: "file" | "folder" }> {
    const descriptor = this.#open.get(id)
    if (!descriptor || descriptor.kind === "stream") throw new RefusedRequest({ kind: "NotFound", value: id })
    return descriptor
  }

  /** The agent's descriptor of a file. @throws RefusedRequest */
  file(id: bigint): number {
    const descriptor = this.openFile(id)
    if (descriptor.kind === "folder") throw new RefusedRequest({ kind: "NotFile", value: id })
    return descriptor.fd
  }

  /** @throws RefusedRequest */
  folder(id: bigint): Extract<Descriptor, { kind: "folder" }> {
    const descriptor = this.openFile(id)
    if (descriptor.kind === "file") throw new RefusedRequest({ kind: "NotDirectory", value: id })
    return descriptor
  }

  /** @throws RefusedRequest */
  stream(id: bigint): FolderListing {
    const descriptor = this.#open.get(id)
    if (descriptor?.kind !== "stream") throw new RefusedRequest({ kind: "NotFound", value: id })
    return descriptor.listing
  }

  /** Forgets a file or folder; anything else is ignored. */
  close(id: bigint): void {
    const descriptor = this.#open.get(id)
    if (descriptor && descriptor.kind !== "stream") this.#forget(id, descriptor)
  }

  /** Forgets a stream, or the position a folder has for `GetDEnts64`; anything else is ignored. */
  closeStream(id: bigint): void {
    const descriptor = this.#open.get(id)
    if (descriptor?.kind === "stream") this.#forget(id, descriptor)
    if (descriptor?.kind === "folder" && descriptor.listing) {
      syscall("close", descriptor.listing.fd)
      delete descriptor.listing
    }
  }

  closeAll(): void {
    for (const [id, descriptor] of this.#open) this.#forget(id, descriptor)
  }

  #forget(id: bigint, descriptor: Descriptor): void {
    this.#open.delete(id)
    this.#metrics.add("mirrord_agent_open_fd_count", -1)
    release(descriptor)
  }
}

function release(descriptor: Descriptor): void {
  if (descriptor.kind !== "stream") syscall("close", descriptor.fd)
  if (descriptor.kind !== "file" && descriptor.listing) syscall("close", descriptor.listing.fd)
}
