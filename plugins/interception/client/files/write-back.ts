import { createHash } from "node:crypto"
import { fstatSync, readSync } from "node:fs"
import type { RemoteFile } from "../../../../core/client/engine.ts"
import { syscall } from "../../../../core/linux/syscall.ts"

/** Bytes sent at a time. */
const pieceBytes = 256 * 1024
/** More than this is not kept in memory after it was sent; such a file can then only grow. */
const keptBytes = 64 * 1024 * 1024
const KEEP_SIZE_AND_PUNCH_HOLE = 3

/**
 * Sends on what a program writes into a memory file without the engine seeing the calls (`> file` of a shell, which moves
 * the descriptor to 1). inotify says that something was written. Almost always the file grew, and then what is new is sent.
 * A checksum at the end finds the rare case that older parts were changed, too; then everything is sent again.
 */
export class WriteBack {
  readonly #memory: number
  readonly #file: RemoteFile
  readonly #append: boolean
  /** Everything below this offset has been sent. */
  #sent: number
  #remoteSize: number
  #forgotten = 0
  #sentHash = createHash("sha1")
  #hashed = true
  #keepsAll = false
  #dirty = false
  #running: Promise<void> | undefined
  #failure: unknown

  constructor(memory: number, file: RemoteFile, size: number, append: boolean) {
    this.#memory = memory
    this.#file = file
    this.#append = append
    this.#remoteSize = size
    this.#sent = size
    if (append) this.#hashed = false
    else this.#hashPrefix(this.#sentHash, size)
  }

  /** From now on everything stays in memory, so that any change is noticed. False: too late for that. */
  keepAll(): boolean {
    this.#keepsAll = true
    return this.#hashed
  }

  /** Whether the memory file still holds everything, so that a change anywhere in it is noticed. */
  get hasAll(): boolean {
    return this.#hashed
  }

  /** Resolves when what there is now has arrived. @throws what the remote side said */
  modified(): Promise<void> {
    this.#dirty = true
    return this.flush()
  }

  /** The size was set through the engine. */
  moved(size: number): void {
    this.#remoteSize = size
    this.#restart(Math.min(this.#sent, size))
  }

  /** Resolves when everything written so far has arrived, whatever is written meanwhile. @throws what the remote side said */
  async flush(): Promise<void> {
    // What is being sent now may have begun before the latest was written; what begins then has it all.
    await this.#running
    if (this.#dirty) {
      this.#running ??= this.#send().finally(() => {
        this.#running = undefined
      })
    }
    await this.#running
    if (this.#failure) throw this.#failure
  }

  /** The last flush, when nobody can write any more. @throws what the remote side said: something is lost */
  async finish(): Promise<void> {
    if (fstatSync(this.#memory).size !== this.#sent) this.#dirty = true
    await this.flush()
    if (!this.#hashed || this.#isUnchanged()) return
    this.#restart(0)
    this.#dirty = true
    await this.flush()
  }

  async #send(): Promise<void> {
    this.#dirty = false
    try {
      const size = fstatSync(this.#memory).size
      if (size <= this.#sent && this.#forgotten === 0 && !(size === this.#sent && this.#isUnchanged())) this.#restart(0)
      const piece = Buffer.alloc(pieceBytes)
      while (this.#sent < size) {
        const count = readSync(this.#memory, piece, 0, Math.min(pieceBytes, size - this.#sent), this.#sent)
        if (count === 0) break
        await this.#put(piece.subarray(0, count))
        if (this.#hashed) this.#sentHash.update(piece.subarray(0, count))
        this.#sent += count
      }
      if (size < this.#remoteSize) await this.#file.truncate(BigInt(size))
      this.#remoteSize = size
      if (this.#append || (!this.#keepsAll && this.#sent - this.#forgotten > keptBytes)) this.#forget()
    } catch (thrown) {
      this.#failure = thrown
    }
  }

  async #put(bytes: Uint8Array): Promise<void> {
    for (let done = 0; done < bytes.length; ) {
      const rest = bytes.subarray(done)
      done += this.#append ? await this.#file.append(rest) : await this.#file.writeAt(BigInt(this.#sent + done), rest)
    }
  }

  /** Whether what was sent is still what lies there, as far as that is known. */
  #isUnchanged(): boolean {
    if (!this.#hashed) return true
    const now = createHash("sha1")
    this.#hashPrefix(now, this.#sent)
    return now.digest("hex") === this.#sentHash.copy().digest("hex")
  }

  #forget(): void {
    syscall("fallocate", this.#memory, KEEP_SIZE_AND_PUNCH_HOLE, this.#forgotten, this.#sent - this.#forgotten)
    this.#forgotten = this.#sent
    this.#hashed = false
  }

  #restart(at: number): void {
    this.#sent = at
    if (!this.#hashed) return
    this.#sentHash = createHash("sha1")
    this.#hashPrefix(this.#sentHash, at)
  }

  #hashPrefix(hash: ReturnType<typeof createHash>, end: number): void {
    const piece = Buffer.alloc(pieceBytes)
    for (let at = 0; at < end; ) {
      const count = readSync(this.#memory, piece, 0, Math.min(pieceBytes, end - at), at)
      if (count === 0) return
      hash.update(piece.subarray(0, count))
      at += count
    }
  }
}
