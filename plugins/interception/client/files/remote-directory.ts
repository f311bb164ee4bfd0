import type { FileWorld, RemoteDirEntry, RemoteStat } from "../../../../core/client/engine.ts"
import { InOrder } from "./in-order.ts"
import type { Injected } from "./injected.ts"

/** An open remote directory. The position of its memory file is the number of the next entry. */
export class RemoteDirectory implements Injected {
  readonly range = "live"
  readonly path: string
  readonly #files: FileWorld
  readonly #stat: RemoteStat
  #entries: RemoteDirEntry[] | undefined
  /** For calls that list from where the one before has ended. */
  readonly calls = new InOrder()

  constructor(path: string, stat: RemoteStat, files: FileWorld) {
    this.path = path
    this.#stat = stat
    this.#files = files
  }

  stat(): RemoteStat {
    return this.#stat
  }

  /** The entries, read again when the program starts over. */
  async entries(position: number): Promise<readonly RemoteDirEntry[]> {
    if (position === 0 || !this.#entries) this.#entries = await this.#files.list(this.path)
    return this.#entries
  }

  /** A path relative to this directory. */
  join(relative: string): string {
    return joinPath(this.path, relative)
  }
}

export function joinPath(directory: string, relative: string): string {
  return directory.endsWith("/") ? directory + relative : `${directory}/${relative}`
}
