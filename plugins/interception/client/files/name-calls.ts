import { mkdirSync, renameSync, rmdirSync, truncateSync, unlinkSync } from "node:fs"
import { ErrnoError, type FileWorld } from "../../../../core/client/engine.ts"
import { errno } from "../../../../core/linux/errno.ts"
import type { CallName } from "../kernel/abi.ts"
import { type Answer, type Call, failure, type Handler, type Handlers, proceed, success } from "../kernel/call.ts"
import { pathCalls, twoPathCalls } from "../kernel/path-calls.ts"
import { readTimes } from "../kernel/times.ts"
import type { Supervision } from "../supervision.ts"
import { changeAttributes, mustBeWritable, withFile } from "./attribute-changes.ts"
import { nodeFailure } from "./open-calls.ts"

const AT_REMOVEDIR = 0x200
const RENAME_NOREPLACE = 1

/** Calls that change names or attributes by path. */
export function nameCalls(supervision: Supervision): Handlers {
  const { injected, locator, pendingWrites, world } = supervision

  /**
   * A call on one path. `remote` does it there; `mapped` on this machine under another name, without it the kernel does
   * it under the name the program wrote.
   */
  function onPath(
    remote: (files: FileWorld, path: string, call: Call) => Promise<unknown>,
    mapped?: (path: string, call: Call) => void,
  ): Handler {
    return async (call) => {
      const located = await locator.locate(call, pathCalls.get(call.name)!)
      switch (located.kind) {
        case "local":
        case "virtual":
          return proceed
        case "not-found":
          return failure(errno.ENOENT)
        case "mapped":
          if (!mapped) return proceed
          try {
            mapped(located.path, call)
            return success
          } catch (thrown) {
            throw nodeFailure(thrown)
          }
        case "descriptor":
          mustBeWritable(world.files, located.object.path)
          await remote(world.files!, located.object.path, call)
          return success
        case "remote":
          injected.catchUp()
          await pendingWrites.settled(located.path)
          await remote(world.files!, located.path, call)
          return success
      }
    }
  }

  const refused = (number: number, what: string) =>
    onPath(async () => {
      throw new ErrnoError(number, what)
    })
  const makeDirectory = onPath(
    (files, path, call) => files.makeDirectory(path, call.int(call.name === "mkdir" ? 1 : 2) & 0o7777),
    (path, call) => mkdirSync(path, call.int(call.name === "mkdir" ? 1 : 2) & 0o7777),
  )
  const unlink = onPath(
    (files, path, call) => (removesDirectory(call) ? files.removeDirectory(path) : files.unlink(path)),
    (path, call) => (removesDirectory(call) ? rmdirSync(path) : unlinkSync(path)),
  )
  const chmod = onPath((files, path, call) =>
    changeAttributes(files, path, (file) => file.setMode(call.int(call.name === "chmod" ? 1 : 2) & 0o7777)),
  )
  const chown = onPath((files, path, call) => {
    const at = call.name === "fchownat" ? 2 : 1
    return changeAttributes(files, path, (file) => file.setOwner(call.int(at), call.int(at + 1)))
  })
  const setTimes = onPath((files, path, call) =>
    changeAttributes(files, path, async (file) => {
      call.mustWait()
      const { atimeNs, mtimeNs } = readTimes(call)
      if (atimeNs !== undefined && mtimeNs !== undefined) return file.setTimes(atimeNs, mtimeNs)
      if (atimeNs === undefined && mtimeNs === undefined) return
      const stat = await file.stat()
      await file.setTimes(atimeNs ?? stat.atimeNs, mtimeNs ?? stat.mtimeNs)
    }),
  )
  const truncate = onPath(
    async (files, path, call) => {
      const size = BigInt.asIntN(64, call.word(1))
      if (size < 0n) throw new ErrnoError(errno.EINVAL, "truncate")
      await withFile(files, path, "write", (file) => file.truncate(size))
    },
    (path, call) => truncateSync(path, call.size(1)),
  )

  async function rename(call: Call): Promise<Answer> {
    const [fromArgument, toArgument] = twoPathCalls.get(call.name)!
    // Both at once: each is read before anything is waited for.
    const [from, to] = await Promise.all([locator.locate(call, fromArgument), locator.locate(call, toArgument)])
    if (from.kind === "not-found" || to.kind === "not-found") return failure(errno.ENOENT)
    if (from.kind === "remote" && to.kind === "remote") {
      if (isLink(call.name)) return failure(errno.EPERM)
      injected.catchUp()
      await pendingWrites.settled(from.path)
      if (call.name === "renameat2" && call.int(4) !== 0) {
        if (call.int(4) !== RENAME_NOREPLACE) return failure(errno.EINVAL)
        if (await exists(world.files!, to.path)) return failure(errno.EEXIST)
      }
      await world.files!.rename(from.path, to.path)
      return success
    }
    // What lies on two sides is for the program on two file systems: `mv` copies then.
    if (from.kind === "remote" || to.kind === "remote") return failure(errno.EXDEV)
    if (from.kind !== "mapped" && to.kind !== "mapped") return proceed
    if (isLink(call.name) || from.kind !== "mapped" || to.kind !== "mapped") return failure(errno.EXDEV)
    try {
      renameSync(from.path, to.path)
      return success
    } catch (thrown) {
      throw nodeFailure(thrown)
    }
  }

  return {
    mkdir: makeDirectory,
    mkdirat: makeDirectory,
    rmdir: unlink,
    unlink,
    unlinkat: unlink,
    chmod,
    fchmodat: chmod,
    fchmodat2: chmod,
    chown,
    lchown: chown,
    fchownat: chown,
    utime: setTimes,
    utimes: setTimes,
    futimesat: setTimes,
    utimensat: setTimes,
    truncate,
    rename,
    renameat: rename,
    renameat2: rename,
    link: rename,
    linkat: rename,
    // The protocol has neither; a file system without them answers like this.
    symlink: refused(errno.EPERM, "symlink"),
    symlinkat: refused(errno.EPERM, "symlinkat"),
    mknod: refused(errno.EPERM, "mknod"),
    mknodat: refused(errno.EPERM, "mknodat"),
    // "Out of watches" makes programs fall back to looking again from time to time.
    inotify_add_watch: refused(errno.ENOSPC, "inotify_add_watch"),
    getxattr: refused(errno.EOPNOTSUPP, "getxattr"),
    lgetxattr: refused(errno.EOPNOTSUPP, "lgetxattr"),
    listxattr: refused(errno.EOPNOTSUPP, "listxattr"),
    llistxattr: refused(errno.EOPNOTSUPP, "llistxattr"),
    setxattr: refused(errno.EOPNOTSUPP, "setxattr"),
    lsetxattr: refused(errno.EOPNOTSUPP, "lsetxattr"),
    removexattr: refused(errno.EOPNOTSUPP, "removexattr"),
    lremovexattr: refused(errno.EOPNOTSUPP, "lremovexattr"),
  }
}

function removesDirectory(call: Call): boolean {
  return call.name === "rmdir" || (call.name === "unlinkat" && (call.int(2) & AT_REMOVEDIR) !== 0)
}

function isLink(name: CallName): boolean {
  return name === "link" || name === "linkat"
}

async function exists(files: FileWorld, path: string): Promise<boolean> {
  try {
    await files.stat(path, false)
    return true
  } catch (thrown) {
    if (thrown instanceof ErrnoError && thrown.errno === errno.ENOENT) return false
    throw thrown
  }
}
