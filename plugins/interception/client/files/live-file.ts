import { fstatSync, ftruncateSync, readSync } from "node:fs"
import type { OpenMode, RemoteFile, RemoteStat } from "../../../../core/client/engine.ts"
import { ErrnoError } from "../../../../core/client/engine.ts"
import { errno } from "../../../../core/linux/errno.ts"
import { ChunkCache } from "./chunk-cache.ts"
import type { Injected } from "./injected.ts"
import { dress, writeAll } from "./ready-file.ts"
import { WriteBack } from "./write-back.ts"

/** A file that is mapped or put on a low descriptor has to be in memory whole; larger ones are refused with EFBIG. */
export const wholeFileBytes = 256 * 1024 * 1024
const statBelievedMs = 1000

/**
 * A remote file the engine reads and writes for the program. Its memory file carries the position (shared by copies of the
 * descriptor) and the size; content only from the moment on when the program can get past the engine.
 */
export class LiveFile implements Injected {
  readonly range = "live"
  readonly path: string
  readonly mode: OpenMode
  readonly file: RemoteFile
  readonly #memory: number
  readonly #cache: ChunkCache
  readonly #openForReading: () => Promise<RemoteFile>
  readonly #onWriting: (arrived: Promise<void>) => void
  #stat: RemoteStat
  #askedAt = Date.now()
  #whole: Promise<void> | undefined
  #writeBack: WriteBack | undefined
  /** The program has it mapped and may change it without anybody being told: the memory file is the truth. */
  #shared = false
  #tail: Promise<unknown> = Promise.resolve()

  constructor(options: {
    path: string
    memory: number
    file: RemoteFile
    stat: RemoteStat
    mode: OpenMode
    /** Opens it once more: what a program only writes cannot be read by its descriptor. */
    openForReading: () => Promise<RemoteFile>
    /** Something was written past the engine; the promise settles when it has arrived. */
    onWriting: (arrived: Promise<void>) => void
  }) {
    this.path = options.path
    this.mode = options.mode
    this.file = options.file
    this.#memory = options.memory
    this.#stat = options.stat
    this.#openForReading = options.openForReading
    this.#onWriting = options.onWriting
    this.#cache = new ChunkCache((offset, length) => this.file.readAt(offset, length))
    dress(this.#memory, this.#stat)
    ftruncateSync(this.#memory, Number(this.#stat.size))
  }

  /** Runs one call after the other, as the kernel does for a file with a position. */
  inOrder<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#tail.then(work)
    this.#tail = result.catch(() => {})
    return result
  }

  async stat(): Promise<RemoteStat> {
    await this.#writeBack?.flush()
    if (this.mode.write || Date.now() - this.#askedAt > statBelievedMs) {
      this.#askedAt = Date.now()
      this.#stat = await this.file.stat()
      if (!this.#writeBack) ftruncateSync(this.#memory, Number(this.#stat.size))
    }
    return this.#stat
  }

  async read(offset: number, length: number): Promise<Uint8Array> {
    await this.#writeBack?.flush()
    return this.#shared ? this.#readShared(offset, length) : this.#cache.read(offset, length)
  }

  /** Returns the bytes taken and, when appending, where the file ends now. */
  async write(offset: number, bytes: Uint8Array, append: boolean): Promise<{ count: number; end?: number }> {
    if (this.#shared) {
      writeAll(this.#memory, bytes, offset)
      await this.sync()
      return { count: bytes.length }
    }
    await this.#writeBack?.flush()
    this.#cache.clear()
    const count = append ? await this.file.append(bytes) : await this.file.writeAt(BigInt(offset), bytes)
    this.#cache.clear()
    if (this.#whole) this.#whole = undefined
    return append ? { count, end: Number((await this.file.stat()).size) } : { count }
  }

  async truncate(size: number): Promise<void> {
    await (this.#shared ? this.sync() : this.#writeBack?.flush())
    this.#cache.clear()
    await this.file.truncate(BigInt(size))
    ftruncateSync(this.#memory, size)
    this.#writeBack?.moved(size)
  }

  /** Brings the whole content into the memory file, for reading past the engine. @throws ErrnoError EFBIG */
  whole(): Promise<void> {
    if (this.#shared) return Promise.resolve()
    this.#whole ??= this.#fetchWhole()
    this.#whole.catch(() => (this.#whole = undefined))
    return this.#whole
  }

  /** From now on the program may use the memory file itself; what it writes there is sent on. */
  async letGo(): Promise<void> {
    if (!this.mode.write) return this.whole()
    if (this.#writeBack) return
    const { size } = await this.stat()
    if (this.mode.read || (!this.mode.append && size > 0n)) await this.whole()
    this.#writeBack = new WriteBack(this.#memory, this.file, Number(size), this.mode.append)
  }

  /** From now on the program may change the content in its memory. @throws ErrnoError EFBIG, ENODEV */
  async share(): Promise<void> {
    if (this.#shared) return
    if (!this.mode.append) await this.letGo()
    if (!this.#writeBack?.keepAll()) throw new ErrnoError(errno.ENODEV, `changes of ${this.path} could not be found`)
    this.#shared = true
  }

  get isShared(): boolean {
    return this.#shared
  }

  /** Sends on what the program has changed in its memory. @throws what the remote side said */
  async sync(): Promise<void> {
    await this.#writeBack?.modified()
  }

  modified(): void {
    this.#cache.clear()
    if (this.#writeBack) this.#onWriting(this.#writeBack.modified())
  }

  released(): Promise<void> {
    this.#cache.clear()
    const flushed = (this.#writeBack?.finish() ?? Promise.resolve()).finally(() => this.file.close())
    this.#onWriting(flushed)
    return flushed
  }

  #readShared(offset: number, length: number): Uint8Array {
    const bytes = Buffer.alloc(Math.max(0, Math.min(length, fstatSync(this.#memory).size - offset)))
    return bytes.subarray(0, bytes.length === 0 ? 0 : readSync(this.#memory, bytes, 0, bytes.length, offset))
  }

  async #fetchWhole(): Promise<void> {
    const { size } = await this.stat()
    if (size > BigInt(wholeFileBytes)) {
      throw new ErrnoError(errno.EFBIG, `${this.path} has ${size} bytes, at most ${wholeFileBytes} can be mapped`)
    }
    if (this.mode.read) return this.#copyWhole(this.#cache)
    const file = await this.#openForReading()
    try {
      await this.#copyWhole(new ChunkCache((offset, length) => file.readAt(offset, length)))
    } finally {
      file.close()
    }
  }

  async #copyWhole(content: ChunkCache): Promise<void> {
    try {
      for (let at = 0; ; ) {
        const bytes = await content.read(at, 1024 * 1024)
        if (bytes.length === 0 || at > wholeFileBytes) break
        writeAll(this.#memory, bytes, at)
        at += bytes.length
      }
    } finally {
      content.clear()
    }
  }
}
