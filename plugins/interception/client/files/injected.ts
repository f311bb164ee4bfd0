import type { RemoteStat } from "../../../../core/client/engine.ts"
import { errorText } from "../../../../core/errors.ts"
import { check, LinuxError } from "../../../../core/linux/errno.ts"
import { cString, syscall } from "../../../../core/linux/syscall.ts"
import type { Logger } from "../../../../core/log.ts"
import { fileIdentity } from "../kernel/file-identity.ts"
import { heldDescriptors } from "../kernel/held-descriptors.ts"
import { O_CLOEXEC } from "../kernel/notification.ts"
import { canFetchDescriptors } from "../kernel/rung.ts"
import { tryFetchDescriptor } from "../kernel/tracee.ts"

const AT_FDCWD = -100
const MFD_CLOEXEC = 1
const IN_NONBLOCK = 0o4000
const IN_CLOEXEC = 0o2000000
const IN_MODIFY = 0x2
const IN_CLOSE_WRITE = 0x8
const IN_CLOSE_NOWRITE = 0x10
const IN_Q_OVERFLOW = 0x4000
const watched = IN_MODIFY | IN_CLOSE_WRITE | IN_CLOSE_NOWRITE
const O_RDWR = 2
const F_SETLEASE = 1024
const F_WRLCK = 1
const F_UNLCK = 2
/** How long a close or a write past the engine may go unnoticed. */
const lookMs = 50
/** Files that are only read of which a close may have gone unnoticed. */
const maxUnseen = 128
/** struct inotify_event: wd i32, mask u32, cookie u32, len u32, name. */
const eventBytes = 16
/** Bytes of a memfd's name the kernel keeps. */
const nameBytes = 240

/** What stands behind a descriptor that was given to the program. */
export interface Injected {
  readonly path: string
  readonly range: "ready" | "live"
  /** Which file of the pod it is (see `fileOf`); absent for what cannot be changed. */
  readonly file?: string
  stat(): RemoteStat | Promise<RemoteStat>
  /** The program has changed the file by another descriptor. */
  changed?(): Promise<void>
  /** The program wrote past the engine, into the memory file itself. */
  modified?(): void
  /** The last descriptor of the program was closed. The memory file stays until the result settles; it rejects when something is lost. */
  released?(): Promise<void>
}

interface Entry {
  inode: string
  object: Injected
  watch: number
  /** Our own descriptor of the memory file, readable and writable. */
  memory: number
}

/** A memory file that stands for nothing yet, and the program's descriptor of it. */
export interface EmptyFile {
  memory: number
  fd: number
  watch: number
  inode: string
}

/**
 * The memory files the program holds. Each is known by its inode, so that copies made by dup, fork or over a socket
 * need no bookkeeping; inotify tells when one of them is closed, and the kernel whether it was the last. To count what inotify tells
 * would not do: equal events in a row become one, and those that nobody fetches in time are lost.
 */
export class InjectedFiles {
  readonly #log: Logger
  readonly #notify = check(syscall("inotify_init1", IN_NONBLOCK | IN_CLOEXEC), "inotify_init1")
  readonly #byInode = new Map<string, Entry>()
  readonly #byWatch = new Map<number, Entry>()
  readonly #events = Buffer.alloc(64 * eventBytes)
  /** How many of them may have been written to. */
  #written = 0
  #looking: ReturnType<typeof setInterval> | undefined

  constructor(log: Logger) {
    this.#log = log
  }

  /**
   * Makes an empty memory file. `fill` may put content into it (`memory` is writable) and names what it stands for.
   * Returns a descriptor for the program with the given open flags; the caller gives it away or closes it.
   * @throws LinuxError
   */
  create(path: string, openFlags: number, fill: (memory: number) => Injected): number {
    return this.complete(this.prepare(path, openFlags), fill)
  }

  /** The part of `create` that needs no content: for the time in which that is on its way. @throws LinuxError */
  prepare(path: string, openFlags: number): EmptyFile {
    const made = check(syscall("memfd_create", memoryName(path), MFD_CLOEXEC), "memfd_create")
    const link = cString(`/proc/self/fd/${made}`)
    // What memfd_create opened is in no count of the kernel's; see `isUnused`.
    const memory = syscall("openat", AT_FDCWD, link, O_RDWR | O_CLOEXEC, 0)
    const fd = memory < 0 ? memory : syscall("openat", AT_FDCWD, link, openFlags | O_CLOEXEC, 0)
    if (fd < 0) {
      for (const each of [memory, made]) if (each >= 0) syscall("close", each)
      throw new LinuxError(fd, "open a memory file")
    }
    const watch = syscall("inotify_add_watch", this.#notify, link, watched)
    if (watch < 0) this.#log.warn("a remote file stays in memory until the end, inotify is exhausted", { path })
    syscall("close", made)
    return { memory, fd, watch, inode: fileIdentity(memory)! }
  }

  /** The rest of it. */
  complete(empty: EmptyFile, fill: (memory: number) => Injected): number {
    try {
      const { memory, fd, watch, inode } = empty
      const entry: Entry = { inode, object: fill(memory), watch, memory }
      this.#byInode.set(inode, entry)
      if (entry.object.released) this.#written++
      if (watch >= 0) this.#byWatch.set(watch, entry)
      this.#startLooking()
      return fd
    } catch (thrown) {
      this.discard(empty)
      throw thrown
    }
  }

  /** In place of the rest: nothing is to stand there. */
  discard({ memory, fd, watch }: EmptyFile): void {
    if (watch >= 0) syscall("inotify_rm_watch", this.#notify, watch)
    syscall("close", memory)
    syscall("close", fd)
  }

  /** What descriptor `fd` of a thread stands for; undefined when it is none of ours. */
  of(tid: number, fd: number): Injected | undefined {
    if (this.#byInode.size === 0) return undefined
    const inode = identityOf(tid, fd)
    return inode === undefined ? undefined : this.#byInode.get(inode)?.object
  }

  /** To be told of a change: whatever else stands for the same file. */
  async tellOthers(by: Injected): Promise<void> {
    for (const object of this.all()) if (object !== by && object.file === by.file) await object.changed?.()
  }

  /** What stands behind every descriptor the program has now. */
  all(): Injected[] {
    return [...this.#byInode.values()].map(({ object }) => object)
  }

  /** What has to be known before a file of the program is looked at: what it wrote. Files that are only read can wait a little. */
  catchUpWrites(): void {
    if (this.#written > 0 || this.#byInode.size > maxUnseen) this.catchUp()
  }

  /** Takes what inotify has to say now, so that what happened before this moment is known. */
  catchUp(): void {
    heldDescriptors.sweep()
    const closed = new Set<Entry>()
    while (this.#byInode.size > 0) {
      const count = syscall("read", this.#notify, this.#events, this.#events.length)
      for (let at = 0; at < count; at += eventBytes) this.#event(at, closed)
      if (count < this.#events.length) break
    }
    for (const entry of closed) if (isUnused(entry.memory)) this.#release(entry)
  }

  close(): void {
    clearInterval(this.#looking)
    this.catchUp()
    for (const entry of [...this.#byInode.values()]) this.#release(entry)
    syscall("close", this.#notify)
  }

  #event(at: number, closed: Set<Entry>): void {
    const mask = this.#events.readUInt32LE(at + 4)
    const entry = this.#byWatch.get(this.#events.readInt32LE(at))
    // After too many events anything may have happened to any of them.
    for (const each of mask & IN_Q_OVERFLOW ? this.#byWatch.values() : entry ? [entry] : []) {
      if (mask & (IN_MODIFY | IN_Q_OVERFLOW)) each.object.modified?.()
      if (mask & (IN_CLOSE_WRITE | IN_CLOSE_NOWRITE | IN_Q_OVERFLOW)) closed.add(each)
    }
  }

  #release(entry: Entry): void {
    this.#byInode.delete(entry.inode)
    if (entry.object.released) this.#written--
    if (entry.watch >= 0) {
      this.#byWatch.delete(entry.watch)
      syscall("inotify_rm_watch", this.#notify, entry.watch)
    }
    const { path } = entry.object
    const done = entry.object.released?.() ?? Promise.resolve()
    done
      .catch((thrown) => {
        this.#log.warn("not all that the program wrote has arrived in the pod", { path, reason: errorText(thrown) })
      })
      .finally(() => syscall("close", entry.memory))
  }

  /** Looking now and then is much cheaper than being woken by each close; what cannot wait calls `catchUp` itself. */
  #startLooking(): void {
    this.#looking ??= setInterval(() => {
      this.catchUp()
      if (this.#byInode.size > 0) return
      clearInterval(this.#looking)
      this.#looking = undefined
    }, lookMs)
    this.#looking.unref()
  }
}

/**
 * Whether nobody but us has the memory file open or mapped: only then is a lease for writing to be had (fcntl(2)), and only by an open
 * file that the kernel has counted.
 */
function isUnused(memory: number): boolean {
  if (syscall("fcntl", memory, F_SETLEASE, F_WRLCK) < 0) return false
  syscall("fcntl", memory, F_SETLEASE, F_UNLCK)
  return true
}

function identityOf(tid: number, fd: number): string | undefined {
  if (!canFetchDescriptors()) return fileIdentity(`/proc/${tid}/fd/${fd}`)
  const copy = tryFetchDescriptor(tid, fd)
  if (copy < 0) return undefined
  const inode = fileIdentity(copy)
  syscall("close", copy)
  return inode
}

/** Programs see it behind /proc/self/fd. */
function memoryName(path: string): Buffer {
  const name = cString(path)
  if (name.length <= nameBytes) return name
  name[nameBytes] = 0
  return name.subarray(0, nameBytes + 1)
}
