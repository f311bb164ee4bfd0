import type { RemoteFile } from "../../../../core/client/engine.ts"
import { errno } from "../../../../core/linux/errno.ts"
import { syscall } from "../../../../core/linux/syscall.ts"
import { type Answer, type Call, failure, type Handlers, proceed, success, value } from "../kernel/call.ts"
import { O_CLOEXEC } from "../kernel/notification.ts"
import { fetchDescriptor, isFree } from "../kernel/tracee.ts"
import type { Supervision } from "../supervision.ts"
import { changeAttributes, mustBeWritable } from "./attribute-changes.ts"
import { LiveFile, wholeFileBytes } from "./live-file.ts"
import { RemoteDirectory } from "./remote-directory.ts"
import { spliceCall } from "./splice-calls.ts"

const F_DUPFD_CLOEXEC = 1030
const SEEK_END = 2
const SEEK_DATA = 3
const SEEK_HOLE = 4
const MAP_TYPE = 0xf
const MAP_PRIVATE = 2
const STDERR = 2

/** Everything else a program does with the descriptor of a remote file. */
export function descriptorCalls(supervision: Supervision): Handlers {
  const { injected, ranges, shared, world } = supervision
  const liveAt = (call: Call, argument: number): LiveFile | undefined => {
    const fd = call.int(argument)
    if (fd < ranges.liveFrom || fd >= ranges.end) return undefined
    const object = injected.of(call.tid, fd)
    return object instanceof LiveFile ? object : undefined
  }

  async function seek(call: Call): Promise<Answer> {
    const file = liveAt(call, 0)
    const whence = call.int(2)
    if (!file || whence < SEEK_END) return proceed
    const { size } = await file.stat()
    // The memory file has this size now and knows what to do.
    if (whence === SEEK_END) return proceed
    const offset = BigInt.asIntN(64, call.word(1))
    if (whence !== SEEK_DATA && whence !== SEEK_HOLE) return failure(errno.EINVAL)
    if (offset < 0n || offset >= size) return failure(errno.ENXIO)
    const copy = fetchDescriptor(call.tid, call.int(0))
    try {
      return value(syscall("lseek", copy, whence === SEEK_DATA ? offset : size, 0))
    } finally {
      syscall("close", copy)
    }
  }

  async function map(call: Call): Promise<Answer> {
    const file = liveAt(call, 4)
    if (!file) return proceed
    const isPrivate = (call.int(3) & MAP_TYPE) === MAP_PRIVATE
    if (!file.mode.read) return failure(errno.EACCES)
    if (file.mode.write && !isPrivate) {
      await file.share()
      shared.sharedMappings = true
    } else await file.whole()
    return proceed
  }

  /** fsync and fdatasync: everything else was sent when it was written. */
  async function sync(call: Call): Promise<Answer> {
    await liveAt(call, 0)?.sync()
    return proceed
  }

  /** msync names memory, not a file. */
  async function syncMappings(): Promise<Answer> {
    for (const object of injected.all()) if (object instanceof LiveFile && object.isShared) await object.sync()
    return proceed
  }

  /** dup and F_DUPFD: the copy stays where the filter can tell it, unless the program has made room for it at a number it relies on. */
  async function duplicate(call: Call): Promise<Answer> {
    const object = injected.of(call.tid, call.int(0))
    if (!object) return proceed
    if (!(object instanceof RemoteDirectory) && takesStandardNumber(call)) {
      if (object instanceof LiveFile) await object.letGo()
      return proceed
    }
    const closeOnExec = call.name === "fcntl" && call.int(1) === F_DUPFD_CLOEXEC
    const fd = fetchDescriptor(call.tid, call.int(0))
    return { kind: "give", fd, closeOnExec, range: object.range, fallback: object.range === "ready" }
  }

  /** dup2 and dup3 name the number; a low one leaves the engine's sight. */
  async function duplicateTo(call: Call): Promise<Answer> {
    const to = call.int(1)
    const file = liveAt(call, 0)
    const known = to >= ranges.liveFrom && to < ranges.end
    if (file && !known && to >= 0 && (call.name === "dup2" || (call.int(2) & ~O_CLOEXEC) === 0)) await file.letGo()
    return proceed
  }

  async function sendFile(call: Call): Promise<Answer> {
    const from = liveAt(call, 1)
    if (liveAt(call, 0)) return failure(errno.EINVAL)
    if (!from) return proceed
    // Programs fall back to reading and writing.
    if (from.mode.write || (await from.stat()).size > BigInt(wholeFileBytes)) return failure(errno.EINVAL)
    await from.whole()
    return proceed
  }

  /** Programs fall back to reading and writing. */
  function copyRange(call: Call): Answer {
    return liveAt(call, 0) || liveAt(call, 2) ? failure(errno.EINVAL) : proceed
  }

  async function truncate(call: Call): Promise<Answer> {
    const file = liveAt(call, 0)
    if (!file) return proceed
    const size = Number(BigInt.asIntN(64, call.word(1)))
    if (!file.mode.write || size < 0) return failure(errno.EINVAL)
    await file.inOrder(() => file.truncate(size))
    return success
  }

  async function allocate(call: Call): Promise<Answer> {
    const file = liveAt(call, 0)
    if (!file) return proceed
    if (!file.mode.write) return failure(errno.EBADF)
    if (call.int(1) !== 0) return failure(errno.EOPNOTSUPP)
    const end = BigInt.asIntN(64, call.word(2)) + BigInt.asIntN(64, call.word(3))
    if (end <= 0n) return failure(errno.EINVAL)
    await file.inOrder(async () => {
      if ((await file.stat()).size < end) await file.truncate(Number(end))
    })
    return success
  }

  /** fchmod and fchown. */
  async function changeAttribute(call: Call, change: (file: RemoteFile) => Promise<void>): Promise<Answer> {
    const object = injected.of(call.tid, call.int(0))
    if (!object) return proceed
    if (object instanceof LiveFile && object.mode.write) await change(object.remote)
    else {
      mustBeWritable(world.files, object.path)
      await changeAttributes(world.files, object.path, change)
    }
    return success
  }

  return {
    lseek: seek,
    mmap: map,
    fsync: sync,
    fdatasync: sync,
    msync: syncMappings,
    dup: duplicate,
    fcntl: duplicate,
    dup2: duplicateTo,
    dup3: duplicateTo,
    sendfile: sendFile,
    copy_file_range: copyRange,
    splice: spliceCall(supervision),
    ftruncate: truncate,
    fallocate: allocate,
    fchmod: (call) => changeAttribute(call, (file) => file.setMode(call.int(1) & 0o7777)),
    fchown: (call) => changeAttribute(call, (file) => file.setOwner(call.int(1), call.int(2))),
  }
}

/** `close(1); dup(file)`: the kernel gives the lowest number, here that of a standard stream. */
function takesStandardNumber(call: Call): boolean {
  for (let number = call.name === "fcntl" ? call.int(2) : 0; number <= STDERR; number++) {
    if (number >= 0 && isFree(call.tid, number)) return true
  }
  return false
}
