import { duplicate } from "../../../../core/linux/open.ts"
import { syscall } from "../../../../core/linux/syscall.ts"
import { fileIdentity } from "./file-identity.ts"
import { findDescriptor } from "./program-descriptors.ts"

/** How long a copy may outlive the program's last descriptor. */
const sweepMs = 250
/** Copies kept at a time; the oldest go, and the engine can do nothing with those descriptors any more. */
const maxHeld = 4096

/** The program has this descriptor from somewhere else, or for too long: it is the kernel's alone. */
export class NotHeld extends Error {}

interface Held {
  fd: number
  /** /proc/TID/fd/N where the program had it when that was last looked at. */
  at: string
}

/**
 * Copies of the program's descriptors, kept from the moment the engine made them: where the kernel lets nobody fetch a
 * descriptor later, this is how the engine gets at it. A copy keeps a file open, so it goes as soon as no process of the
 * program has the descriptor any more, or when `letGo` says that nothing is left to be done with it.
 */
export class HeldDescriptors {
  readonly #byIdentity = new Map<string, Held>()
  #sweeper: ReturnType<typeof setInterval> | undefined

  /** Takes over `fd`, which the thread has as `number`. */
  hold(fd: number, tid: number, number: number): void {
    const identity = fileIdentity(fd)
    if (identity === undefined || this.#byIdentity.has(identity)) {
      syscall("close", fd)
      return
    }
    this.#byIdentity.set(identity, { fd, at: `/proc/${tid}/fd/${number}` })
    for (const old of this.#byIdentity.keys()) {
      if (this.#byIdentity.size <= maxHeld) break
      this.#drop(old)
    }
    this.#sweeper ??= setInterval(() => this.sweep(), sweepMs)
    this.#sweeper.unref()
  }

  /** A new descriptor of the thread's open file. @throws NotHeld */
  copy(tid: number, number: number): number {
    const identity = this.#byIdentity.size > 0 ? fileIdentity(`/proc/${tid}/fd/${number}`) : undefined
    const held = identity === undefined ? undefined : this.#byIdentity.get(identity)
    if (!held) throw new NotHeld()
    return duplicate(held.fd)
  }

  /** Closes the copy of the open file `fd` belongs to: its end has to be felt at once. */
  letGo(fd: number): void {
    if (this.#byIdentity.size > 0) this.#drop(fileIdentity(fd))
  }

  /** Closes the copies of what the program has closed. */
  sweep(): void {
    const gone = new Map([...this.#byIdentity].filter(([identity, { at }]) => fileIdentity(at) !== identity))
    if (gone.size > 0) findDescriptor((path) => this.#isLast(gone, path))
    for (const identity of gone.keys()) this.#drop(identity)
    if (this.#byIdentity.size > 0) return
    clearInterval(this.#sweeper)
    this.#sweeper = undefined
  }

  /** Whether nothing is missing any more when this one was seen. */
  #isLast(missing: Map<string, Held>, path: string): boolean {
    const identity = fileIdentity(path)
    const held = identity === undefined ? undefined : missing.get(identity)
    if (held) {
      held.at = path
      missing.delete(identity!)
    }
    return missing.size === 0
  }

  #drop(identity: string | undefined): void {
    const held = identity === undefined ? undefined : this.#byIdentity.get(identity)
    if (!held) return
    this.#byIdentity.delete(identity!)
    syscall("close", held.fd)
  }
}

/** Open files are known by their identity, so the programs of one process share this. */
export const heldDescriptors = new HeldDescriptors()
