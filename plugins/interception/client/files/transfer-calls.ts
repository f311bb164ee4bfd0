import { errno } from "../../../../core/linux/errno.ts"
import { openFlag, statusFlags } from "../../../../core/linux/open.ts"
import { syscall } from "../../../../core/linux/syscall.ts"
import { type Answer, type Call, failure, type Handler, type Handlers, proceed, value } from "../kernel/call.ts"
import {
  fetchDescriptor,
  gather,
  positionOf,
  readVectors,
  scatter,
  type Vector,
  vectorBytes,
} from "../kernel/tracee.ts"
import type { Supervision } from "../supervision.ts"
import { LiveFile } from "./live-file.ts"
import { RemoteDirectory } from "./remote-directory.ts"

/** One call moves at most this much; a program that wants more gets a short result, as POSIX allows. */
const maxTransferBytes = 1024 * 1024
const SEEK_SET = 0
const ownPosition = -1

/** How a call names its memory and its place in the file. */
interface Shape {
  vector: boolean
  /** Argument with the offset; absent: the descriptor's position. -1 in a `…v2` call means that, too. */
  offset?: number
}

const shapes: Partial<Record<Call["name"], Shape>> = {
  read: { vector: false },
  write: { vector: false },
  readv: { vector: true },
  writev: { vector: true },
  pread64: { vector: false, offset: 3 },
  pwrite64: { vector: false, offset: 3 },
  preadv: { vector: true, offset: 3 },
  pwritev: { vector: true, offset: 3 },
  preadv2: { vector: true, offset: 3 },
  pwritev2: { vector: true, offset: 3 },
}

/** Reading and writing of remote files through descriptors the engine can tell by their number. */
export function transferCalls({ injected }: Supervision): Handlers {
  /** Finds the file and the place; `move` does the work and says how many bytes it moved and where the position is then. */
  function transfer(
    allowed: (file: LiveFile) => boolean,
    move: (
      file: LiveFile,
      at: number,
      vectors: Vector[],
      call: Call,
      copy: number,
    ) => Promise<{ count: number; position: number }>,
  ): Handler {
    return async (call): Promise<Answer> => {
      const object = injected.of(call.tid, call.int(0))
      if (object instanceof RemoteDirectory) return failure(errno.EISDIR)
      if (!(object instanceof LiveFile)) return proceed
      if (!allowed(object)) return failure(errno.EBADF)
      const { vectors, offset } = placeOf(call)
      if (offset < ownPosition) return failure(errno.EINVAL)
      if (vectors.length === 0) return value(0)
      const copy = fetchDescriptor(call.tid, call.int(0))
      try {
        return await object.inOrder(async () => {
          const { count, position } = await move(
            object,
            offset === ownPosition ? positionOf(copy) : offset,
            vectors,
            call,
            copy,
          )
          if (offset === ownPosition) syscall("lseek", copy, position, SEEK_SET)
          return value(count)
        })
      } finally {
        syscall("close", copy)
      }
    }
  }

  const read = transfer(
    (file) => file.mode.read,
    async (file, at, vectors, call) => {
      const bytes = await file.read(at, vectorBytes(vectors))
      call.mustWait()
      scatter(call.tid, vectors, bytes)
      return { count: bytes.length, position: at + bytes.length }
    },
  )
  const write = transfer(
    (file) => file.mode.write,
    async (file, at, vectors, call, copy) => {
      // Other calls on the file came first.
      call.mustWait()
      const { count, end } = await file.write(at, gather(call.tid, vectors), appends(copy))
      return { count, position: end ?? at + count }
    },
  )

  return {
    read,
    readv: read,
    pread64: read,
    preadv: read,
    preadv2: read,
    write,
    writev: write,
    pwrite64: write,
    pwritev: write,
    pwritev2: write,
  }
}

/** The program may have changed that since it opened the file. */
const appends = (copy: number) => (statusFlags(copy) & openFlag.append) !== 0

function placeOf(call: Call): { vectors: Vector[]; offset: number } {
  const shape = shapes[call.name]!
  const vectors = shape.vector
    ? readVectors(call.tid, call.word(1), call.int(2), maxTransferBytes)
    : [{ address: call.word(1), length: Math.min(call.size(2), maxTransferBytes) }].filter(({ length }) => length > 0)
  const offset = shape.offset === undefined ? ownPosition : Number(BigInt.asIntN(64, call.word(shape.offset)))
  const explicit = shape.offset !== undefined && !call.name.endsWith("v2")
  return { vectors, offset: explicit && offset < 0 ? ownPosition - 1 : offset }
}
