import { ftruncateSync } from "node:fs"
import type { FileWorld, RemoteStat } from "../../../../core/client/engine.ts"
import { check } from "../../../../core/linux/errno.ts"
import { syscall } from "../../../../core/linux/syscall.ts"
import type { Injected } from "./injected.ts"
import { fileOf } from "./pending-writes.ts"

/** How long the attributes of an open file are believed. */
const statBelievedMs = 1000
const nanosecondsPerSecond = 1_000_000_000n

/** A file whose whole content lies in a memory file: the program reads it without the engine. */
export class ReadyFile implements Injected {
  readonly range = "ready"
  readonly file?: string
  readonly path: string
  readonly #memory: number
  readonly #files: FileWorld | undefined
  #stat: RemoteStat
  #askedAt = Date.now()

  /** Without `files` the content never changes. */
  constructor(path: string, memory: number, content: Uint8Array, stat: RemoteStat, files?: FileWorld) {
    this.path = path
    this.#memory = memory
    this.#stat = stat
    this.#files = files
    if (files) this.file = fileOf(stat)
    this.#put(content)
  }

  /** A program that asks again later (`tail -f`) gets the file as it is then, content included. */
  async stat(): Promise<RemoteStat> {
    if (!this.#files || Date.now() - this.#askedAt < statBelievedMs) return this.#stat
    this.#askedAt = Date.now()
    try {
      const now = await this.#files.stat(this.path, true)
      const isChanged = now.size !== this.#stat.size || now.mtimeNs !== this.#stat.mtimeNs
      if (fileOf(now) === this.file && isChanged) await this.#renew(this.#files)
    } catch {
      // An open file keeps its attributes even when its name is gone.
    }
    return this.#stat
  }

  async changed(): Promise<void> {
    if (this.#files) await this.#renew(this.#files).catch(() => {})
  }

  /** What is there by this name now, if that is still the same file. */
  async #renew(files: FileWorld): Promise<void> {
    const { file, content, stat } = await files.openForReading(this.path)
    file.close()
    if (!content || fileOf(stat) !== this.file) return
    this.#stat = stat
    this.#put(content)
    ftruncateSync(this.#memory, content.length)
  }

  #put(content: Uint8Array): void {
    writeAll(this.#memory, content, 0)
    dress(this.#memory, this.#stat)
  }
}

/** Writes at a position without moving the file's own. */
export function writeAll(fd: number, bytes: Uint8Array, position: number): void {
  for (let done = 0; done < bytes.length; ) {
    const rest = done === 0 ? bytes : bytes.subarray(done)
    done += check(syscall("pwrite64", fd, rest, rest.length, position + done), "write a memory file")
  }
}

/** Makes a memory file look like the remote one as far as that goes, for descriptors the engine cannot tell apart. */
export function dress(memory: number, stat: RemoteStat): void {
  check(syscall("fchmod", memory, stat.mode & 0o777), "fchmod")
  putTime(stat.atimeNs, 0)
  putTime(stat.mtimeNs, 2)
  check(syscall("utimensat", memory, null, times, 0), "utimensat")
}

/** Two of struct timespec: seconds i64, nanoseconds i64. */
const times = new BigInt64Array(new ArrayBuffer(32))

function putTime(time: bigint, at: number): void {
  const nanoseconds = ((time % nanosecondsPerSecond) + nanosecondsPerSecond) % nanosecondsPerSecond
  times[at] = (time - nanoseconds) / nanosecondsPerSecond
  times[at + 1] = nanoseconds
}
