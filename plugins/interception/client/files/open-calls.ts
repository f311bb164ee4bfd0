import { open, openSync } from "node:fs"
import { ErrnoError, type FileWorld, OpenLocally, type OpenMode } from "../../../../core/client/engine.ts"
import { errno } from "../../../../core/linux/errno.ts"
import { type Answer, type Call, failure, type Handlers, proceed } from "../kernel/call.ts"
import { isPipe } from "../kernel/file-identity.ts"
import { O_CLOEXEC } from "../kernel/notification.ts"
import { O_APPEND, O_CREAT, O_EXCL, O_TRUNC, openIntent, pathCalls } from "../kernel/path-calls.ts"
import { statusLine } from "../kernel/process-status.ts"
import { isDirectory, S_IFLNK, S_IFMT } from "../kernel/structures.ts"
import { readMemory } from "../kernel/tracee.ts"
import type { Supervision } from "../supervision.ts"
import { questionsLeave } from "../turn.ts"
import type { EmptyFile, Injected } from "./injected.ts"
import { LiveFile } from "./live-file.ts"
import { ReadyFile } from "./ready-file.ts"
import { RemoteDirectory } from "./remote-directory.ts"
import type { VirtualFile } from "./virtual-files.ts"

const O_ACCMODE = 3
const O_WRONLY = 1
const O_RDWR = 2
const O_DIRECTORY = process.arch === "arm64" ? 0o40000 : 0o200000
const O_NOFOLLOW = process.arch === "arm64" ? 0o100000 : 0o400000
const O_TMPFILE = 0o20000000

export function openCalls(supervision: Supervision): Handlers {
  const { injected, pendingWrites, world, locator } = supervision

  async function open(call: Call): Promise<Answer> {
    const { flags, mode } = openArguments(call)
    const located = await locator.locate(call, pathCalls.get(call.name) ?? openat2Path, openIntent(flags))
    const closeOnExec = (flags & O_CLOEXEC) !== 0
    switch (located.kind) {
      case "local":
        return proceed
      case "not-found":
      case "descriptor":
        return failure(errno.ENOENT)
      case "mapped":
        return { kind: "give", fd: await openMapped(call, located.path, flags, mode), closeOnExec }
      case "virtual":
        return { kind: "give", fd: ready(located.file), closeOnExec, range: "ready", fallback: true }
      case "remote": {
        injected.catchUpWrites()
        const files = world.files!
        try {
          const opened =
            openIntent(flags) === "read"
              ? await openForReading(files, located.path, flags)
              : await openForWriting(files, located.path, flags, flags & O_CREAT ? mode & ~maskOf(call.tid) : undefined)
          return { ...opened, closeOnExec }
        } catch (thrown) {
          if (!(thrown instanceof OpenLocally)) throw thrown
          return { kind: "give", fd: await openMapped(call, located.path, flags, mode), closeOnExec }
        }
      }
    }
  }

  function ready({ path, content, stat }: VirtualFile): number {
    return injected.create(path, 0, (memory) => new ReadyFile(path, memory, content, stat))
  }

  /** The memory file is made while the agent looks for the true one. */
  async function findForReading(files: FileWorld, path: string) {
    const finding = files.openForReading(path)
    finding.catch(() => {})
    await questionsLeave()
    let empty: EmptyFile | undefined
    try {
      empty = injected.prepare(path, 0)
      return { ...(await finding), empty }
    } catch (thrown) {
      if (empty) injected.discard(empty)
      else finding.then(({ file }) => file.close()).catch(() => {})
      throw thrown
    }
  }

  async function openForReading(files: FileWorld, path: string, flags: number): Promise<Answer & { kind: "give" }> {
    if (flags & O_NOFOLLOW) await mustBeNoLink(files, path)
    const { file, stat, content, empty } = await pendingWrites.upToDate(
      path,
      () => findForReading(files, path),
      ({ stat }) => stat,
      ({ file, empty }) => {
        file.close()
        injected.discard(empty)
      },
    )
    if (isDirectory(stat)) {
      file.close()
      const fd = injected.complete(empty, () => new RemoteDirectory(path, stat, files))
      return { kind: "give", fd, closeOnExec: false, range: "live" }
    }
    if (flags & O_DIRECTORY) {
      file.close()
      injected.discard(empty)
      throw new ErrnoError(errno.ENOTDIR, `${path} is not a directory`)
    }
    if (content) {
      file.close()
      const fd = injected.complete(empty, (memory) => new ReadyFile(path, memory, content, stat, files))
      return { kind: "give", fd, closeOnExec: false, range: "ready", fallback: true }
    }
    return live(path, empty, file, stat, { ...readingMode })
  }

  /** `rights`: those of the file, should it be made here. */
  async function openForWriting(
    files: FileWorld,
    path: string,
    flags: number,
    rights: number | undefined,
  ): Promise<Answer & { kind: "give" }> {
    if ((flags & O_TMPFILE) === O_TMPFILE) throw new ErrnoError(errno.EOPNOTSUPP, "no unnamed remote files")
    await pendingWrites.settled(path)
    const mode = openMode(flags)
    if (flags & O_NOFOLLOW && !mode.exclusive) await mustBeNoLink(files, path)
    const hasOwnRights = rights !== undefined && (rights & 0o777) !== usualRights
    // Asked before it is made, answered by the time it is.
    const isMissing = hasOwnRights && !mode.exclusive && files.stat(path, true).then(() => false, isNoEntry)
    const file = await files.open(path, mode)
    try {
      if (hasOwnRights && (mode.exclusive || (await isMissing))) await file.setMode(rights & 0o777).catch(ignoreTooOld)
      const stat = await pendingWrites.upToDate(
        path,
        () => file.stat(),
        (stat) => stat,
      )
      return live(path, injected.prepare(path, flags & (O_ACCMODE | O_APPEND)), file, stat, mode)
    } catch (thrown) {
      file.close()
      throw thrown
    }
  }

  function live(
    path: string,
    empty: EmptyFile,
    file: ConstructorParameters<typeof LiveFile>[0]["file"],
    stat: ConstructorParameters<typeof LiveFile>[0]["stat"],
    mode: OpenMode,
  ): Answer & { kind: "give" } {
    const ways = {
      openForReading: () => world.files!.open(path, readingMode),
      onChange: (by: Injected) => injected.tellOthers(by),
      onWriting: (arrived: Promise<void>) => pendingWrites.add(path, stat, arrived),
    }
    const fd = injected.complete(empty, (memory) => new LiveFile({ path, memory, file, stat, mode, ...ways }))
    return { kind: "give", fd, closeOnExec: false, range: "live" }
  }

  return { open, openat: open, openat2: open, creat: open }
}

const openat2Path = { dir: 0, path: 1, intent: "read" } as const
/** What agents give new files; the protocol's open has no room for it. */
const usualRights = 0o644
const readingMode: OpenMode = {
  read: true,
  write: false,
  append: false,
  truncate: false,
  create: false,
  exclusive: false,
}

function openArguments(call: Call): { flags: number; mode: number } {
  switch (call.name) {
    case "creat":
      return { flags: O_WRONLY | O_CREAT | O_TRUNC, mode: call.int(1) }
    case "open":
      return { flags: call.int(1), mode: call.int(2) }
    case "openat2": {
      // struct open_how: flags u64, mode u64, resolve u64.
      const how = readMemory(call.tid, call.word(2), 16)
      return { flags: how.readUInt32LE(0), mode: how.readUInt32LE(8) }
    }
    default:
      return { flags: call.int(2), mode: call.int(3) }
  }
}

function openMode(flags: number): OpenMode {
  const access = flags & O_ACCMODE
  return {
    read: access !== O_WRONLY,
    write: access === O_WRONLY || access === O_RDWR,
    append: (flags & O_APPEND) !== 0,
    truncate: (flags & O_TRUNC) !== 0,
    create: (flags & O_CREAT) !== 0,
    exclusive: (flags & O_CREAT) !== 0 && (flags & O_EXCL) !== 0,
  }
}

/** @throws ErrnoError ELOOP */
async function mustBeNoLink(files: FileWorld, path: string): Promise<void> {
  // Without an answer the open tells why; it may also be one that leads to this machine.
  const named = await files.stat(path, false).catch(() => undefined)
  if (named && (named.mode & S_IFMT) === S_IFLNK) throw new ErrnoError(errno.ELOOP, `${path} is a symbolic link`)
}

/** A thread's mask for new files. */
function maskOf(tid: number): number {
  return Number.parseInt(statusLine(tid, "Umask"), 8) || 0
}

function isNoEntry(thrown: unknown): boolean {
  return thrown instanceof ErrnoError && thrown.errno === errno.ENOENT
}

function ignoreTooOld(thrown: unknown): void {
  if (!(thrown instanceof ErrnoError && thrown.errno === errno.ENOSYS)) throw thrown
}

/** Opens a file of this machine for the program, with the program's mask for new files. */
async function openMapped(call: Call, path: string, flags: number, mode: number): Promise<number> {
  if (isPipe(path)) return openPipe(path, flags)
  const mine = process.umask(maskOf(call.tid))
  try {
    return openSync(path, flags | O_CLOEXEC, mode & 0o7777)
  } catch (thrown) {
    throw nodeFailure(thrown)
  } finally {
    process.umask(mine)
  }
}

/** It waits for somebody at the other end, who may be the program. */
function openPipe(path: string, flags: number): Promise<number> {
  const { promise, resolve, reject } = Promise.withResolvers<number>()
  open(path, flags | O_CLOEXEC, (thrown, fd) => (thrown ? reject(nodeFailure(thrown)) : resolve(fd)))
  return promise
}

/** A failed call of `node:fs` as the program's errno. */
export function nodeFailure(thrown: unknown): unknown {
  const number = (thrown as { errno?: number }).errno
  return typeof number === "number" ? new ErrnoError(Math.abs(number), String((thrown as Error).message)) : thrown
}
