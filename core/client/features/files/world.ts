import type { FileListSurroundings } from "../../../../config/file-lists.ts"
import type { OpenOptions } from "../../../protocol/index.ts"
import type { Conversation } from "../../conversation.ts"
import { ErrnoError, type FileWorld, type OpenMode, type RemoteDirEntry, type RemoteFile } from "../../engine.ts"
import { errno } from "../response-errno.ts"
import { createFileDecision, createRelativeHiding, type FileOptions } from "./decide.ts"
import { type Descriptor, FileLink } from "./file-link.ts"
import { toDirEntry, toStat, toStatFs } from "./metadata.ts"
import { AgentFile } from "./remote-file.ts"

const forReading: OpenOptions = {
  read: true,
  write: false,
  append: false,
  truncate: false,
  create: false,
  createNew: false,
}
/** Most bytes of directory records one answer may carry. */
const listBytes = 1n << 20n

/** The pod's files. @throws AppError "bad-pattern" */
export function createFileWorld(
  conversation: Conversation,
  options: FileOptions,
  at: FileListSurroundings,
): FileWorld & { link: FileLink } {
  const link = new FileLink(conversation)
  const opener = new Opener(link)
  const need = (feature: Parameters<FileLink["supports"]>[0]) => {
    if (!link.supports(feature)) throw new ErrnoError(errno.ENOSYS, "the agent is too old for this")
  }
  const hides = createRelativeHiding(options)
  return {
    link,
    place: createFileDecision(options, at),
    ...(hides ? { hides } : {}),

    async openForReading(path) {
      const readAhead = BigInt(options.readAheadBytes)
      const { descriptor, follow } = await opener.open(path, forReading, (fd) => [
        link.ask({ kind: "Xstat", value: { path: null, fd, followSymlink: true } }, "Xstat"),
        readAhead > 0n
          ? link.ask(
              { kind: "ReadLimited", value: { remoteFd: fd, bufferSize: readAhead, startFrom: 0n } },
              "ReadLimited",
            )
          : undefined,
      ])
      const file = new AgentFile(link, descriptor)
      try {
        const [stated, read] = follow
        const stat = toStat((await stated!).metadata)
        // A directory cannot be read, and a pipe or device must not be taken for a short file.
        const bytes = await read?.then(
          (answer) => answer.bytes,
          () => undefined,
        )
        const isFile = (stat.mode & 0o170_000) === 0o100_000
        const whole =
          isFile && bytes !== undefined && BigInt(bytes.byteLength) < readAhead && BigInt(bytes.byteLength) >= stat.size
        return whole ? { file, stat, content: bytes } : { file, stat }
      } catch (thrown) {
        file.close()
        throw thrown
      }
    },

    async open(path, mode) {
      const { descriptor } = await opener.open(path, openOptions(mode))
      const file: RemoteFile = new AgentFile(link, descriptor)
      if (!mode.append || !mode.truncate) return file
      try {
        await file.truncate(0n)
        return file
      } catch (thrown) {
        file.close()
        throw thrown
      }
    },

    async stat(path, followLinks) {
      const value = { path, fd: null, followSymlink: followLinks }
      return toStat((await link.ask({ kind: "Xstat", value }, "Xstat")).metadata)
    },

    async statFs(path) {
      need("statFs")
      if (!link.supports("statFsV2"))
        return toStatFs((await link.ask({ kind: "StatFs", value: { path } }, "XstatFs")).metadata)
      return toStatFs((await link.ask({ kind: "StatFsV2", value: { path } }, "XstatFsV2")).metadata)
    },

    async access(path, mode) {
      await link.ask({ kind: "Access", value: { pathname: path, mode } }, "Access")
    },

    async readLink(path) {
      need("readLink")
      return (await link.ask({ kind: "ReadLink", value: { path } }, "ReadLink")).path
    },

    async makeDirectory(path, mode) {
      need("makeDir")
      await link.ask({ kind: "MakeDir", value: { pathname: path, mode } }, "MakeDir")
    },

    async removeDirectory(path) {
      need("removeDir")
      await link.ask({ kind: "RemoveDir", value: { pathname: path } }, "RemoveDir")
    },

    async unlink(path) {
      need("removeDir")
      await link.ask({ kind: "Unlink", value: { pathname: path } }, "Unlink")
    },

    async rename(from, to) {
      need("rename")
      await link.ask({ kind: "Rename", value: { oldPath: from, newPath: to } }, "Rename")
    },

    async list(path) {
      const next = (fd: bigint) =>
        link.ask({ kind: "GetDEnts64", value: { remoteFd: fd, bufferSize: listBytes } }, "GetDEnts64")
      // Two at once: the second says that the first was all.
      const { descriptor, follow } = await opener.open(path, forReading, (fd) => [next(fd), next(fd)])
      try {
        const entries: RemoteDirEntry[] = []
        for (let answers: ReturnType<typeof next>[] = follow; ; answers = [next(descriptor.fd)]) {
          for (const answer of answers) {
            const { entries: part } = await answer
            if (part.length === 0) return entries
            entries.push(...part.map(toDirEntry))
          }
          link.require(descriptor)
        }
      } finally {
        link.close(descriptor)
      }
    },
  }
}

/** Agents refuse what Rust's library does: to truncate without writing, and to truncate what is appended to. */
function openOptions({ read, write, append, truncate, create, exclusive }: OpenMode): OpenOptions {
  return {
    read,
    write: write || truncate,
    append,
    truncate: truncate && !append,
    create: create && !exclusive,
    createNew: create && exclusive,
  }
}

/**
 * Opens files and sends what comes next along with the question, for a descriptor that is not known yet: agents count them
 * up from 0, so the next one can be foretold while no other open is on the way. A wrong guess is noticed and repaired.
 */
class Opener {
  readonly #link: FileLink
  #next = 0n
  #generation = 0
  #onTheWay = 0
  /** False once an agent was seen to number its descriptors in another way. */
  #foreseeable = true

  constructor(link: FileLink) {
    this.#link = link
  }

  /** `more` asks about the open file; its questions are sent with the open, or after it when the guess was wrong. */
  async open<A extends readonly (Promise<unknown> | undefined)[] = []>(
    path: string,
    openOptions: OpenOptions,
    more?: (fd: bigint) => [...A],
  ): Promise<{ descriptor: Descriptor; follow: [...A] }> {
    const { generation } = this.#link
    if (generation !== this.#generation) {
      this.#generation = generation
      this.#next = 0n
    }
    const guess = this.#foreseeable && this.#onTheWay === 0 ? this.#next : undefined
    this.#onTheWay++
    const opening = this.#link.ask({ kind: "Open", value: { path, openOptions } }, "Open")
    const early = guess === undefined ? undefined : more?.(guess)
    // Answers to a wrong guess are of no interest to anybody.
    for (const answer of early ?? []) answer?.catch(() => {})
    try {
      const { fd } = await opening
      if (guess !== undefined && fd !== guess) this.#foreseeable = false
      if (fd >= this.#next) this.#next = fd + 1n
      const descriptor = { fd, generation }
      this.#link.require(descriptor)
      const follow = early && fd === guess ? early : (more?.(fd) ?? [])
      return { descriptor, follow: follow as [...A] }
    } finally {
      this.#onTheWay--
    }
  }
}
