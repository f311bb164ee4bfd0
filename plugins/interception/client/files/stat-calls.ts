import { accessSync, type BigIntStats, lstatSync, readlinkSync, statSync } from "node:fs"
import type { RemoteStat } from "../../../../core/client/engine.ts"
import { errno } from "../../../../core/linux/errno.ts"
import { type Answer, type Call, failure, type Handlers, proceed, success, value } from "../kernel/call.ts"
import { pathCalls } from "../kernel/path-calls.ts"
import { encodeStat, encodeStatFs, encodeStatx } from "../kernel/structures.ts"
import { writeMemory } from "../kernel/tracee.ts"
import type { Supervision } from "../supervision.ts"
import { nodeFailure } from "./open-calls.ts"

const AT_SYMLINK_NOFOLLOW = 0x100

/** Argument with the flags, where a call has them. */
const flagsArgument: Partial<Record<Call["name"], number>> = { newfstatat: 3, statx: 2 }
/** Argument with the address of the answer. */
const bufferArgument: Partial<Record<Call["name"], number>> = { newfstatat: 2, statx: 4 }

/** Calls that look at a file without opening it. */
export function statCalls(supervision: Supervision): Handlers {
  const { architecture, injected, locator, pendingWrites, world } = supervision

  async function stat(call: Call): Promise<Answer> {
    const located = await locator.locate(call, pathCalls.get(call.name)!)
    const follow = call.name !== "lstat" && ((flags(call) ?? 0) & AT_SYMLINK_NOFOLLOW) === 0
    switch (located.kind) {
      case "local":
        return proceed
      case "not-found":
        return failure(errno.ENOENT)
      case "mapped":
        return answer(call, mappedStat(located.path, follow))
      case "virtual":
        return answer(call, located.file.stat)
      case "descriptor":
        return answer(call, await located.object.stat())
      case "remote":
        injected.catchUpWrites()
        return answer(
          call,
          await pendingWrites.upToDate(
            located.path,
            () => world.files!.stat(located.path, follow),
            (stat) => stat,
          ),
        )
    }
  }

  function answer(call: Call, stat: RemoteStat): Answer {
    call.mustWait()
    const bytes = call.name === "statx" ? encodeStatx(stat) : encodeStat(architecture.stat, stat)
    writeMemory(call.tid, call.word(bufferArgument[call.name] ?? 1), bytes)
    return success
  }

  async function fstat(call: Call): Promise<Answer> {
    const object = injected.of(call.tid, call.int(0))
    return object ? answer(call, await object.stat()) : proceed
  }

  async function access(call: Call): Promise<Answer> {
    const located = await locator.locate(call, pathCalls.get(call.name)!)
    const mode = call.int(call.name === "access" ? 1 : 2) & 7
    switch (located.kind) {
      case "local":
      case "descriptor":
        return proceed
      case "not-found":
        return failure(errno.ENOENT)
      case "mapped":
        translated(() => accessSync(located.path, mode))
        return success
      case "virtual":
        return (mode & 1) !== 0 ? failure(errno.EACCES) : success
      case "remote":
        await world.files!.access(located.path, mode)
        return success
    }
  }

  async function readLink(call: Call): Promise<Answer> {
    const located = await locator.locate(call, pathCalls.get(call.name)!)
    const at = call.name === "readlink" ? 1 : 2
    const put = (target: string): Answer => {
      call.mustWait()
      const bytes = Buffer.from(target).subarray(0, Math.min(call.size(at + 1), 4096))
      writeMemory(call.tid, call.word(at), bytes)
      return value(bytes.length)
    }
    switch (located.kind) {
      case "local":
        return proceed
      case "not-found":
        return failure(errno.ENOENT)
      case "virtual":
      case "descriptor":
        return failure(errno.EINVAL)
      case "mapped":
        return put(translated(() => readlinkSync(located.path)))
      case "remote":
        if (call.int(at + 1) <= 0) return failure(errno.EINVAL)
        return put(await world.files!.readLink(located.path))
    }
  }

  async function statFs(call: Call): Promise<Answer> {
    const located = await locator.locate(call, pathCalls.get(call.name)!)
    if (located.kind === "not-found") return failure(errno.ENOENT)
    if (located.kind !== "remote") return proceed
    const stat = await world.files!.statFs(located.path)
    call.mustWait()
    writeMemory(call.tid, call.word(1), encodeStatFs(stat))
    return success
  }

  async function fstatFs(call: Call): Promise<Answer> {
    const object = injected.of(call.tid, call.int(0))
    if (!object || !world.files) return proceed
    const stat = await world.files.statFs(object.path)
    call.mustWait()
    writeMemory(call.tid, call.word(1), encodeStatFs(stat))
    return success
  }

  return {
    stat,
    lstat: stat,
    newfstatat: stat,
    statx: stat,
    fstat,
    access,
    faccessat: access,
    faccessat2: access,
    readlink: readLink,
    readlinkat: readLink,
    statfs: statFs,
    fstatfs: fstatFs,
  }
}

function flags(call: Call): number | undefined {
  const argument = flagsArgument[call.name]
  return argument === undefined ? undefined : call.int(argument)
}

function mappedStat(path: string, follow: boolean): RemoteStat {
  const options = { bigint: true } as const
  const stat: BigIntStats = translated(() => (follow ? statSync(path, options) : lstatSync(path, options)))
  return {
    mode: Number(stat.mode),
    uid: Number(stat.uid),
    gid: Number(stat.gid),
    dev: stat.dev,
    ino: stat.ino,
    nlink: stat.nlink,
    rdev: stat.rdev,
    size: stat.size,
    blksize: stat.blksize,
    blocks: stat.blocks,
    atimeNs: stat.atimeNs,
    mtimeNs: stat.mtimeNs,
    ctimeNs: stat.ctimeNs,
  }
}

function translated<T>(make: () => T): T {
  try {
    return make()
  } catch (thrown) {
    throw nodeFailure(thrown)
  }
}
