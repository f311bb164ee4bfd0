import { posix } from "node:path"
import { ErrnoError } from "../../../../core/client/engine.ts"
import { errno } from "../../../../core/linux/errno.ts"
import { syscall } from "../../../../core/linux/syscall.ts"
import { type Answer, type Call, failure, type Handlers, proceed, success, value } from "../kernel/call.ts"
import { pathCalls } from "../kernel/path-calls.ts"
import { encodeDirectoryEntries, isDirectory } from "../kernel/structures.ts"
import { fetchDescriptor, peekString, positionOf, writeMemory } from "../kernel/tracee.ts"
import type { Supervision } from "../supervision.ts"
import { RemoteDirectory } from "./remote-directory.ts"

const SEEK_SET = 0
const AT_FDCWD = -100
const X_OK = 1
/** Behind the name of a folder that can be entered there is something. */
const inside = Buffer.from("/.\0")
/** What one call lists at most. */
const maxListBytes = 256 * 1024

/** Listing remote directories and working in them. */
export function directoryCalls({ injected, directories, locator, world }: Supervision): Handlers {
  async function changeDirectory(call: Call): Promise<Answer> {
    const located = await locator.locate(call, pathCalls.get("chdir")!)
    if (located.kind === "not-found") return failure(errno.ENOENT)
    if (located.kind === "remote") {
      const path = posix.normalize(located.path)
      const there = await world.files!.stat(path, true).catch((thrown) => {
        // A folder only this machine has stays reachable, as with mirrord, which never changes into remote folders.
        if (thrown instanceof ErrnoError && directories.of(call.tid) === undefined) return undefined
        throw thrown
      })
      if (there) {
        if (!isDirectory(there)) return failure(errno.ENOTDIR)
        directories.enter(call.tid, path.length > 1 ? path.replace(/\/$/, "") : path)
        return success
      }
    }
    const path = peekString(call.tid, call.word(0))
    return typeof path === "number" ? proceed : leaveFor(call, Buffer.concat([path, inside]))
  }

  function changeToDescriptor(call: Call): Answer {
    const object = injected.of(call.tid, call.int(0))
    if (object instanceof RemoteDirectory) {
      directories.enter(call.tid, object.path)
      return success
    }
    if (object) return failure(errno.ENOTDIR)
    return leaveFor(call, Buffer.from(`/proc/${call.tid}/fd/${call.int(0)}${inside}`))
  }

  /** The kernel changes to a folder of this machine, unless it will refuse that: then the program stays where it is. */
  function leaveFor(call: Call, folder: Buffer): Answer {
    if (directories.of(call.tid) === undefined) return proceed
    if (syscall("faccessat2", AT_FDCWD, folder, X_OK, 0) === 0) directories.leave(call.tid)
    return proceed
  }

  function workingDirectory(call: Call): Answer {
    const path = directories.of(call.tid)
    if (path === undefined) return proceed
    const bytes = Buffer.from(`${path}\0`)
    if (call.size(1) < bytes.length) return failure(errno.ERANGE)
    writeMemory(call.tid, call.word(0), bytes)
    return value(bytes.length)
  }

  async function list(call: Call): Promise<Answer> {
    const object = injected.of(call.tid, call.int(0))
    if (!object) return proceed
    if (!(object instanceof RemoteDirectory)) return failure(errno.ENOTDIR)
    const copy = fetchDescriptor(call.tid, call.int(0))
    try {
      return await object.calls.run(async () => {
        const position = positionOf(copy)
        const entries = await object.entries(position)
        call.mustWait()
        const { bytes, count } = encodeDirectoryEntries(entries, position, Math.min(call.size(2), maxListBytes))
        if (count === 0 && position < entries.length) return failure(errno.EINVAL)
        writeMemory(call.tid, call.word(1), bytes)
        syscall("lseek", copy, position + count, SEEK_SET)
        return value(bytes.length)
      })
    } finally {
      syscall("close", copy)
    }
  }

  return { chdir: changeDirectory, fchdir: changeToDescriptor, getcwd: workingDirectory, getdents64: list }
}
