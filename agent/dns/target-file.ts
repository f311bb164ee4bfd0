import { readFileSync } from "node:fs"
import { openFlag, withOpenBelow } from "../../core/linux/open.ts"
import { type FileStat, statFd } from "../../core/linux/stat.ts"

/** More of a file is not looked at; those of a pod are small. */
const maxFileBytes = 4 * 1024 * 1024
/** A file changed so shortly ago may change again without its times telling, in milliseconds. */
const settledMs = 100
const nanosecondsPerMillisecond = 1_000_000n

/** A text file of the target that is needed all the time: looked at each time, but read only when it has changed. */
export class TargetFile<T> {
  readonly path: string
  readonly #parse: (text: string) => T
  #known: { stat: FileStat; value: T } | undefined

  constructor(path: string, parse: (text: string) => T) {
    this.path = path
    this.#parse = parse
  }

  /** What the file says now; the caller must not change it. @throws LinuxError, or what reading throws */
  read(rootFd: number): T {
    return withOpenBelow(rootFd, this.path, openFlag.readOnly | openFlag.nonBlocking, (fd) => {
      const stat = statFd(fd)
      if (this.#known && isSameVersion(stat, this.#known.stat)) return this.#known.value
      const isSettled = BigInt(Date.now() - settledMs) * nanosecondsPerMillisecond > stat.ctimeNs
      const value = this.#parse(readFileSync(fd).subarray(0, maxFileBytes).toString("utf8"))
      this.#known = isSettled ? { stat, value } : undefined
      return value
    })
  }
}

function isSameVersion(a: FileStat, b: FileStat): boolean {
  return a.ino === b.ino && a.dev === b.dev && a.size === b.size && a.ctimeNs === b.ctimeNs && a.mtimeNs === b.mtimeNs
}
