import { readFileSync } from "node:fs"
import { check, errno } from "../../../../core/linux/errno.ts"
import { POLLIN, poll } from "../../../../core/linux/poll.ts"
import { cString, syscall } from "../../../../core/linux/syscall.ts"
import { type Answer, type Call, failure, type Handler, proceed, value } from "../kernel/call.ts"
import { isPipe } from "../kernel/file-identity.ts"
import { O_CLOEXEC } from "../kernel/notification.ts"
import { ERESTARTSYS, hasSignal } from "../kernel/signals.ts"
import { fetchDescriptor, positionOf, readMemory, writeMemory } from "../kernel/tracee.ts"
import type { Supervision } from "../supervision.ts"
import { EPOLLIN, type Readiness } from "../watch/readiness.ts"
import { LiveFile } from "./live-file.ts"

const SPLICE_F_NONBLOCK = 2
const AT_FDCWD = -100
const O_NONBLOCK = 0o4000
const SEEK_SET = 0
/** One call moves at most this much, which the program has to expect of any splice. */
const maxSpliceBytes = 256 * 1024
/** How often a waiting call is looked after. */
const tickMs = 100

/**
 * splice from a pipe into a remote file: Go downloads that way, and what is in the pipe by then cannot be had otherwise. Out of a
 * remote file programs fall back to reading.
 */
export function spliceCall({ injected, readiness }: Supervision): Handler {
  return async (call): Promise<Answer> => {
    if (injected.of(call.tid, call.int(0)) instanceof LiveFile) return failure(errno.EINVAL)
    const file = injected.of(call.tid, call.int(2))
    if (!(file instanceof LiveFile)) return proceed
    if (!file.mode.write) return failure(errno.EBADF)
    if (file.mode.append) return failure(errno.EINVAL)
    const place = `/proc/${call.tid}/fd/${call.int(0)}`
    if (!isPipe(place)) return failure(errno.EINVAL)
    const pipe = openAgain(place)
    try {
      for (;;) {
        if (isReadable(pipe)) {
          const answer = await file.inOrder(() => move(call, pipe, file))
          if (answer) return answer
        }
        if ((call.int(5) & SPLICE_F_NONBLOCK) !== 0 || isNonBlocking(call)) return failure(errno.EAGAIN)
        // As long as we have the pipe open, whoever writes into it believes that it is read.
        call.mustWait()
        if (hasSignal(call.tid)) return failure(ERESTARTSYS)
        await readableOrSoon(readiness, pipe)
      }
    } finally {
      syscall("close", pipe)
    }
  }
}

async function readableOrSoon(readiness: Readiness, pipe: number): Promise<void> {
  const soon = Promise.withResolvers<void>()
  const timer = setTimeout(soon.resolve, tickMs)
  const waiting = readiness.wait(pipe, EPOLLIN, soon.resolve)
  await soon.promise
  clearTimeout(timer)
  waiting.cancel()
}

/** Undefined when others have taken what was in the pipe. */
async function move(call: Call, pipe: number, file: LiveFile): Promise<Answer | undefined> {
  call.mustWait()
  const bytes = Buffer.alloc(Math.min(call.size(4), maxSpliceBytes))
  const count = syscall("read", pipe, bytes, bytes.length)
  if (count === -errno.EAGAIN) return undefined
  check(count, "read a pipe")
  const place = call.word(3)
  const copy = fetchDescriptor(call.tid, call.int(2))
  try {
    const from = place === 0n ? positionOf(copy) : Number(readMemory(call.tid, place, 8).readBigInt64LE(0))
    let done = 0
    while (done < count) done += (await file.write(from + done, bytes.subarray(done, count), false)).count
    if (place === 0n) syscall("lseek", copy, from + done, SEEK_SET)
    else {
      const offset = Buffer.alloc(8)
      offset.writeBigInt64LE(BigInt(from + done))
      writeMemory(call.tid, place, offset)
    }
    return value(done)
  } finally {
    syscall("close", copy)
  }
}

/** Another open file of the same pipe, which never waits: other readers may be faster. @throws LinuxError */
function openAgain(place: string): number {
  return check(syscall("openat", AT_FDCWD, cString(place), O_NONBLOCK | O_CLOEXEC, 0), "open a pipe again")
}

function isNonBlocking(call: Call): boolean {
  const info = readFileSync(`/proc/${call.tid}/fdinfo/${call.int(0)}`, "latin1")
  return (Number.parseInt(/^flags:\s*([0-7]+)/m.exec(info)?.[1] ?? "0", 8) & O_NONBLOCK) !== 0
}

/** Whether a read gives something at once, be it the end. */
const isReadable = (pipe: number) => poll(pipe, POLLIN) > 0
