import { fstatSync, ftruncateSync, readSync } from "node:fs"
import type { OpenMode, RemoteFile, RemoteStat } from "../../../../core/client/engine.ts"
import { ErrnoError } from "../../../../core/client/engine.ts"
import { errno } from "../../../../core/linux/errno.ts"
import { ChunkCache } from "./chunk-cache.ts"
import { InOrder } from "./in-order.ts"
import type { Injected } from "./injected.ts"
import { fileOf } from "./pending-writes.ts"
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
  readonly file: string
  readonly remote: RemoteFile
  readonly #memory: number
  readonly #cache: ChunkCache
  readonly #openForReading: () => Promise<RemoteFile>
  readonly #onWriting: (arrived: Promise<void>) => void
  readonly #onChange: (by: Injected) => Promise<void>
  #stat: RemoteStat
  #askedAt = Date.now()
  #whole: Promise<void> | undefined
  #writeBack: WriteBack | undefined
  #lettingGo: Promise<void> | undefined
  /** The program has it mapped and may change it without anybody being told: the memory file is the truth. */
  #shared = false
  readonly #calls = new InOrder()

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
    /** The file was changed. */
    onChange: (by: Injected) => Promise<void>
  }) {
    this.path = options.path
    this.mode = options.mode
    this.file = fileOf(options.stat)
    this.remote = options.file
    this.#memory = options.memory
    this.#stat = options.stat
    this.#openForReading = options.openForReading
    this.#onWriting = options.onWriting
    this.#onChange = options.onChange
    this.#cache = new ChunkCache((offset, length) => this.remote.readAt(offset, length))
    dress(this.#memory, this.#stat)
    ftruncateSync(this.#memory, Number(this.#stat.size))
  }

  /** Runs one call after the other. */
  inOrder<T>(work: () => Promise<T>): Promise<T> {
    return this.#calls.run(work)
  }

  async stat(): Promise<RemoteStat> {
    await this.#writeBack?.flush()
    if (this.mode.write || this.#isOutdated()) await this.#look()
    return this.#stat
  }

  async read(offset: number, length: number): Promise<Uint8Array> {
    await this.#writeBack?.flush()
    if (this.#shared) return this.#readShared(offset, length)
    // Whoever reads on does not wait for it; whoever reads again sees what others have changed.
    if (this.#isOutdated()) void this.#look().catch(() => {})
    return this.#cache.read(offset, length)
  }

  async changed(): Promise<void> {
    this.#askedAt = 0
    this.#cache.clear()
    if (this.#whole) await this.#look().catch(() => {})
  }

  /** Returns the bytes taken and, when appending, where the file ends now. */
  async write(offset: number, bytes: Uint8Array, append: boolean): Promise<{ count: number; end?: number }> {
    const { size } = fstatSync(this.#memory)
    if (this.#writeBack && (append || this.#writeBack.hasAll || offset >= size)) {
      // What others write there besides goes on from this.
      const at = append ? size : offset
      writeAll(this.#memory, bytes, at)
      this.#cache.clear()
      await this.sync()
      return append ? { count: bytes.length, end: at + bytes.length } : { count: bytes.length }
    }
    await this.#writeBack?.flush()
    this.#cache.clear()
    const count = append ? await this.remote.append(bytes) : await this.remote.writeAt(BigInt(offset), bytes)
    this.#cache.clear()
    if (this.#whole) this.#whole = undefined
    await this.#onChange(this)
    return append ? { count, end: Number((await this.remote.stat()).size) } : { count }
  }

  async truncate(size: number): Promise<void> {
    await (this.#shared ? this.sync() : this.#writeBack?.flush())
    this.#cache.clear()
    await this.remote.truncate(BigInt(size))
    ftruncateSync(this.#memory, size)
    this.#writeBack?.moved(size)
    await this.#onChange(this)
  }

  /** Brings the whole content into the memory file, for reading past the engine. @throws ErrnoError EFBIG */
  whole(): Promise<void> {
    if (this.#writeBack?.hasAll) return Promise.resolve()
    this.#whole ??= this.#fetchWhole()
    this.#whole.catch(() => (this.#whole = undefined))
    return this.#whole
  }

  /** From now on the program may use the memory file itself; what it writes there is sent on. */
  letGo(): Promise<void> {
    if (!this.mode.write) return this.whole()
    this.#lettingGo ??= this.inOrder(() => this.#letGo())
    this.#lettingGo.catch(() => (this.#lettingGo = undefined))
    return this.#lettingGo
  }

  async #letGo(): Promise<void> {
    const { size } = await this.stat()
    if (this.mode.read || (!this.mode.append && size > 0n)) await this.whole()
    this.#writeBack = new WriteBack(this.#memory, this.remote, Number(size), this.mode.append)
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
    if (this.#writeBack) this.#onWriting(this.#writeBack.modified().then(() => this.#onChange(this)))
  }

  released(): Promise<void> {
    this.#cache.clear()
    const written = this.#writeBack?.finish().then(() => this.#onChange(this))
    const flushed = (written ?? Promise.resolve()).finally(() => this.remote.close())
    this.#onWriting(flushed)
    return flushed
  }

  #isOutdated(): boolean {
    return Date.now() - this.#askedAt > statBelievedMs
  }

  /** Looks what the file is like now. Whatever was fetched of it as it was before is forgotten, or fetched again where it is in use. */
  async #look(): Promise<void> {
    this.#askedAt = Date.now()
    const { size, mtimeNs } = this.#stat
    this.#stat = await this.remote.stat()
    if (this.#writeBack) return
    if (this.#stat.size !== size || this.#stat.mtimeNs !== mtimeNs) {
      this.#cache.clear()
      const wasWhole = this.#whole !== undefined
      this.#whole = undefined
      if (wasWhole) await this.whole()
    }
    this.#setSize(this.#stat.size)
  }

  /** Only where it differs: to set it counts as a write, and makes the engine forget what it has. */
  #setSize(size: bigint): void {
    if (BigInt(fstatSync(this.#memory).size) !== size) ftruncateSync(this.#memory, Number(size))
  }

  #readShared(offset: number, length: number): Uint8Array {
    const bytes = Buffer.alloc(Math.max(0, Math.min(length, fstatSync(this.#memory).size - offset)))
    return bytes.subarray(0, bytes.length === 0 ? 0 : readSync(this.#memory, bytes, 0, bytes.length, offset))
  }

  async #fetchWhole(): Promise<void> {
    // Not by `stat`, which fetches it whole again whenever it has changed: a file that never rests would be fetched without end.
    const { size } = this.mode.write ? await this.remote.stat() : await this.stat()
    if (size > BigInt(wholeFileBytes)) {
      throw new ErrnoError(errno.EFBIG, `${this.path} has ${size} bytes, at most ${wholeFileBytes} can be mapped`)
    }
    if (!this.#writeBack) this.#setSize(size)
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
