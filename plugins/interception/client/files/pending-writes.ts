import { posix } from "node:path"
import type { RemoteStat } from "../../../../core/client/engine.ts"

interface Write {
  path: string
  file: string
  done: Promise<void>
}

/** Writes that are still on their way, so that whoever looks at a file next sees them. */
export class PendingWrites {
  readonly #writes = new Set<Write>()

  /** `stat` of the file that `path` led to when it was opened. */
  add(path: string, stat: RemoteStat, write: Promise<void>): void {
    const done = write.then(
      () => void this.#writes.delete(added),
      () => void this.#writes.delete(added),
    )
    const added: Write = { path: posix.normalize(path), file: fileOf(stat), done }
    this.#writes.add(added)
  }

  /** Resolves when everything written to this path before has arrived. */
  async settled(path: string): Promise<void> {
    if (this.#writes.size === 0) return
    const name = posix.normalize(path)
    await this.#arrived(({ path }) => path === name)
  }

  /**
   * What `ask` says about a file when everything written to it before has arrived. Only the answer tells whether the path is another
   * name of such a file; it is asked again then, and the first answer is given to `drop`.
   */
  async upToDate<T>(
    path: string,
    ask: () => Promise<T>,
    statOf: (answer: T) => RemoteStat,
    drop: (answer: T) => void = () => {},
  ): Promise<T> {
    await this.settled(path)
    const before = new Set(this.#writes)
    const answer = await ask()
    if (before.size === 0) return answer
    const file = fileOf(statOf(answer))
    const same = [...before].filter((write) => write.file === file)
    if (same.length === 0) return answer
    drop(answer)
    await Promise.all(same.map(({ done }) => done))
    return ask()
  }

  /** Resolves when everything written before has arrived. */
  async allSettled(): Promise<void> {
    await this.#arrived(() => true)
  }

  async #arrived(isMeant: (write: Write) => boolean): Promise<void> {
    await Promise.all([...this.#writes].filter(isMeant).map(({ done }) => done))
  }
}

/** The same for every name and every open file of one file of the pod. */
export function fileOf({ dev, ino }: RemoteStat): string {
  return `${dev}:${ino}`
}
