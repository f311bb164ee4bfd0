import { dlopen, FFIType } from "bun:ffi"
import { closeSync, mkdirSync, openSync } from "node:fs"
import { dirname } from "node:path"
import { AppError } from "../../core/errors.ts"

const exclusiveWithoutWaiting = 2 | 4 // LOCK_EX | LOCK_NB
let flock: ((fd: number, operation: number) => number) | undefined

/**
 * Runs `work` while no other process holds the lock of `path`. The kernel frees the lock when its holder dies.
 * @param waiting called once when the lock is taken
 * @throws AppError "locked" after `timeoutSeconds`
 */
export async function withLock<T>(
  path: string,
  timeoutSeconds: number,
  waiting: () => void,
  work: () => Promise<T>,
): Promise<T> {
  flock ??= dlopen("libc.so.6", { flock: { args: [FFIType.i32, FFIType.i32], returns: FFIType.i32 } }).symbols.flock
  mkdirSync(dirname(path), { recursive: true })
  const fd = openSync(path, "a")
  try {
    const deadline = Date.now() + timeoutSeconds * 1000
    for (let turn = 0; flock(fd, exclusiveWithoutWaiting) !== 0; turn++) {
      if (turn === 0) waiting()
      if (Date.now() > deadline) {
        throw new AppError("locked", `Another process has held ${path} for more than ${timeoutSeconds} s`, {
          next: "Wait for the other cluster command to end.",
        })
      }
      await Bun.sleep(100)
    }
    return await work()
  } finally {
    closeSync(fd)
  }
}
