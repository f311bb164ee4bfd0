/** Bytes fetched at a time. */
export const chunkBytes = 512 * 1024
/** Chunks kept per open file: 8 MiB. */
const maxChunksPerFile = 16
/** Chunks kept for all open files of this process together: 64 MiB. */
const maxChunks = 128
/** A chunk that ended early (the end of the file) is believed this long, so that `tail -f` sees a file grow. */
const endBelievedMs = 500

interface Chunk {
  bytes: Promise<Uint8Array>
  fetchedAt: number
  forget(): void
}

/** Every kept chunk, oldest first. */
const kept = new Set<Chunk>()

/** Reads a file in chunks, keeps the newest ones and fetches ahead of a program that reads in order. */
export class ChunkCache {
  readonly #fetch: (offset: bigint, length: number) => Promise<Uint8Array>
  readonly #chunks = new Map<number, Chunk>()

  /** `fetch` gives at most `length` bytes; an empty answer is the end. */
  constructor(fetch: (offset: bigint, length: number) => Promise<Uint8Array>) {
    this.#fetch = fetch
  }

  /** Bytes from `offset` on, fewer than `length` only at the end of the file. */
  async read(offset: number, length: number): Promise<Uint8Array> {
    const pieces: Uint8Array[] = []
    let total = 0
    while (total < length) {
      const at = offset + total
      const index = Math.floor(at / chunkBytes)
      const bytes = await this.#chunk(index)
      const piece = bytes.subarray(at - index * chunkBytes, at - index * chunkBytes + length - total)
      pieces.push(piece)
      total += piece.length
      if (bytes.length < chunkBytes) break
    }
    return pieces.length === 1 ? pieces[0]! : Buffer.concat(pieces)
  }

  /** Forgets everything, because the file was changed or closed. */
  clear(): void {
    for (const chunk of [...this.#chunks.values()]) chunk.forget()
  }

  async #chunk(index: number): Promise<Uint8Array> {
    const known = this.#chunks.get(index)
    const bytes = await (known ?? this.#request(index)).bytes
    if (known && bytes.length < chunkBytes && Date.now() - known.fetchedAt > endBelievedMs) {
      return this.#request(index).bytes
    }
    const inOrder = index === 0 || this.#chunks.has(index - 1)
    if (inOrder && bytes.length === chunkBytes && !this.#chunks.has(index + 1)) this.#request(index + 1)
    return bytes
  }

  #request(index: number): Chunk {
    const chunk: Chunk = {
      bytes: this.#whole(index),
      fetchedAt: Date.now(),
      forget: () => {
        kept.delete(chunk)
        if (this.#chunks.get(index) === chunk) this.#chunks.delete(index)
      },
    }
    chunk.bytes.catch(chunk.forget)
    this.#chunks.get(index)?.forget()
    this.#chunks.set(index, chunk)
    kept.add(chunk)
    for (const old of this.#chunks.values()) {
      if (this.#chunks.size <= maxChunksPerFile) break
      old.forget()
    }
    for (const old of kept) {
      if (kept.size <= maxChunks) break
      old.forget()
    }
    return chunk
  }

  /** One answer may be shorter than asked for without being the end. */
  async #whole(index: number): Promise<Uint8Array> {
    const pieces: Uint8Array[] = []
    let total = 0
    while (total < chunkBytes) {
      const piece = await this.#fetch(BigInt(index) * BigInt(chunkBytes) + BigInt(total), chunkBytes - total)
      if (piece.length === 0) break
      pieces.push(piece)
      total += piece.length
    }
    return pieces.length === 1 ? pieces[0]! : Buffer.concat(pieces)
  }
}
