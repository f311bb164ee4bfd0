import { check } from "./errno.ts"
import { syscall } from "./syscall.ts"

export interface DirectoryEntry {
  ino: bigint
  /** DT_* number; 0 = unknown. */
  type: number
  /** Bytes that are no UTF-8 come as U+FFFD: the protocol has only text here. */
  name: string
}

/** Bytes asked for at once; about 1000 entries. */
const chunkBytes = 32 * 1024
const text = new TextDecoder()

/** Reads a folder piece by piece. */
export class DirectoryReader {
  readonly #fd: number
  #entries: DirectoryEntry[] = []
  #next = 0
  #ended = false

  /** `fd` is a folder opened for reading; its position belongs to this reader. */
  constructor(fd: number) {
    this.#fd = fd
  }

  /** The next entry without taking it; undefined at the end. `.` and `..` are among the entries. @throws LinuxError */
  peek(): DirectoryEntry | undefined {
    while (this.#next === this.#entries.length && !this.#ended) this.#fill()
    return this.#entries[this.#next]
  }

  /** The next entry, taken. @throws LinuxError */
  take(): DirectoryEntry | undefined {
    const entry = this.peek()
    if (entry) this.#next++
    return entry
  }

  #fill(): void {
    const chunk = Buffer.alloc(chunkBytes)
    const length = check(syscall("getdents64", this.#fd, chunk, chunkBytes), "getdents64")
    this.#ended = length === 0
    this.#next = 0
    this.#entries = entries(chunk.subarray(0, length))
  }
}

/** struct linux_dirent64: ino u64, position i64, record length u16, type u8, name with NUL. */
function entries(chunk: Buffer): DirectoryEntry[] {
  const found: DirectoryEntry[] = []
  for (let start = 0; start < chunk.length; start += chunk.readUInt16LE(start + 16)) {
    const name = chunk.subarray(start + 19, chunk.indexOf(0, start + 19))
    found.push({ ino: chunk.readBigUInt64LE(start), type: chunk[start + 18]!, name: text.decode(name) })
  }
  return found
}
