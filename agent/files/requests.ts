import { AppError } from "../../core/errors.ts"
import { check, errno, LinuxError } from "../../core/linux/errno.ts"
import { openFlag } from "../../core/linux/open.ts"
import { type FileStat, isDirectoryFd, statFd, statFileSystem } from "../../core/linux/stat.ts"
import { syscall } from "../../core/linux/syscall.ts"
import type { DirEntry, FileRequest, FileResponse, OpenOptions } from "../../core/protocol/index.ts"
import { attempt, attemptUnit, RefusedRequest } from "../response-error.ts"
import { readContent, seekContent, setTimes, writeContent } from "./content.ts"
import { type Descriptors, newListing } from "./descriptors.ts"
import { nextEntry, nextRecords } from "./listing.ts"
import { fileMetadata, fsMetadata, fsMetadataV2 } from "./metadata.ts"
import { openFlags } from "./open-flags.ts"
import type { Tree } from "./tree.ts"

/** Entries in one answer. */
const maxBatchEntries = 8192
/** Bytes of records in one answer to `GetDEnts64`. */
const maxRecordBytes = 1024 * 1024

/** Answers the file requests of one client. */
export class FileRequests {
  readonly #tree: Tree
  readonly #descriptors: Descriptors

  constructor(tree: Tree, descriptors: Descriptors) {
    this.#tree = tree
    this.#descriptors = descriptors
  }

  /**
   * The answer, of the kind that belongs to the request; undefined for the two closing requests.
   * @throws AppError "path-not-absolute" where the protocol demands an absolute path
   */
  answer({ kind, value }: FileRequest): FileResponse | undefined {
    const tree = this.#tree
    const descriptors = this.#descriptors
    switch (kind) {
      case "Open":
        mustBeAbsolute(value.path)
        return { kind: "Open", value: attempt(() => ({ fd: this.#open(value.path, value.openOptions) })) }
      case "OpenRelative":
        return {
          kind: "Open",
          value: attempt(() => ({ fd: this.#open(this.#below(value.relativeFd, value.path), value.openOptions) })),
        }
      case "Read":
        return { kind, value: attempt(() => this.#read(value.remoteFd, value.bufferSize)) }
      case "ReadLimited":
        return { kind, value: attempt(() => this.#read(value.remoteFd, value.bufferSize, value.startFrom)) }
      case "Seek":
        return {
          kind,
          value: attempt(() => ({ resultOffset: seekContent(descriptors.file(value.fd), value.seekFrom) })),
        }
      case "Write":
        return { kind, value: attempt(() => this.#write(value.fd, value.writeBytes)) }
      case "WriteLimited":
        return { kind, value: attempt(() => this.#write(value.remoteFd, value.writeBytes, value.startFrom)) }
      case "Close":
        descriptors.close(value.fd)
        return undefined
      case "CloseDir":
        descriptors.closeStream(value.remoteFd)
        return undefined
      case "Access":
        mustBeAbsolute(value.pathname)
        return {
          kind,
          value: attempt(() => {
            tree.access(value.pathname, value.mode)
            return {}
          }),
        }
      case "Xstat":
        return { kind, value: attempt(() => ({ metadata: fileMetadata(this.#stat(value)) })) }
      case "XstatFs":
        return { kind, value: attempt(() => ({ metadata: fsMetadata(this.#statFs(value.fd)) })) }
      case "XstatFsV2":
        return { kind, value: attempt(() => ({ metadata: fsMetadataV2(this.#statFs(value.fd)) })) }
      case "StatFs":
        return { kind: "XstatFs", value: attempt(() => ({ metadata: fsMetadata(tree.statFileSystem(value.path)) })) }
      case "StatFsV2":
        return {
          kind: "XstatFsV2",
          value: attempt(() => ({ metadata: fsMetadataV2(tree.statFileSystem(value.path)) })),
        }
      case "FdOpenDir":
        return { kind: "OpenDir", value: attempt(() => ({ fd: this.#openStream(value.remoteFd) })) }
      case "ReadDir":
        return { kind, value: attempt(() => ({ direntry: nextEntry(descriptors.stream(value.remoteFd)) ?? null })) }
      case "ReadDirBatch":
        return {
          kind,
          value: attempt(() => ({ fd: value.remoteFd, dirEntries: this.#batch(value.remoteFd, value.amount) })),
        }
      case "GetDEnts64":
        return { kind, value: attempt(() => this.#records(value.remoteFd, value.bufferSize)) }
      case "ReadLink":
        return { kind, value: attempt(() => ({ path: tree.readLink(value.path) })) }
      case "MakeDir":
        return { kind, value: attemptUnit(() => tree.makeDirectory(value.pathname, value.mode)) }
      case "MakeDirAt":
        return {
          kind: "MakeDir",
          value: attemptUnit(() => tree.makeDirectory(this.#below(value.dirfd, value.pathname), value.mode)),
        }
      case "RemoveDir":
        return { kind, value: attemptUnit(() => tree.removeDirectory(value.pathname)) }
      case "Unlink":
        return { kind, value: attemptUnit(() => tree.unlink(value.pathname, 0)) }
      case "UnlinkAt":
        return {
          kind: "Unlink",
          value: attemptUnit(() => tree.unlink(this.#below(value.dirfd, value.pathname), value.flags)),
        }
      case "Rename":
        return { kind, value: attemptUnit(() => tree.rename(value.oldPath, value.newPath)) }
      case "Ftruncate":
        return { kind, value: attemptUnit(() => call("ftruncate", descriptors.file(value.fd), value.length)) }
      case "Futimens":
        return { kind, value: attemptUnit(() => setTimes(descriptors.openFile(value.fd).fd, value.times)) }
      case "Fchown":
        return {
          kind,
          value: attemptUnit(() => call("fchown", descriptors.openFile(value.fd).fd, value.owner, value.group)),
        }
      case "Fchmod":
        return { kind, value: attemptUnit(() => call("fchmod", descriptors.openFile(value.fd).fd, value.mode)) }
    }
  }

  /** A folder opened for reading becomes a folder descriptor. */
  #open(path: string, options: OpenOptions): bigint {
    const fd = this.#tree.open(path, openFlags(options))
    try {
      return this.#descriptors.add(isDirectoryFd(fd) ? { kind: "folder", fd, path } : { kind: "file", fd })
    } catch (thrown) {
      if (thrown instanceof LinuxError) syscall("close", fd)
      throw thrown
    }
  }

  /** A path relative to a folder descriptor (an absolute one stays), as seen from the root. */
  #below(folder: bigint | null, path: string): string {
    if (folder === null) return path
    const parent = this.#descriptors.folder(folder).path
    return path.startsWith("/") ? path : `${parent}/${path}`
  }

  #read(id: bigint, bufferBytes: bigint, position?: bigint): { bytes: Uint8Array; readAmount: bigint } {
    const bytes = readContent(this.#descriptors.file(id), bufferBytes, position)
    return { bytes, readAmount: BigInt(bytes.length) }
  }

  #write(id: bigint, content: Uint8Array, position?: bigint): { writtenAmount: bigint } {
    return { writtenAmount: writeContent(this.#descriptors.file(id), content, position) }
  }

  #stat({ path, fd, followSymlink }: { path: string | null; fd: bigint | null; followSymlink: boolean }): FileStat {
    if (path !== null) return this.#tree.stat(this.#below(fd, path), followSymlink)
    if (fd !== null) return statFd(this.#descriptors.openFile(fd).fd)
    throw new RefusedRequest({ kind: "RemoteIO", value: { rawOsError: errno.EINVAL, kind: { kind: "InvalidInput" } } })
  }

  #statFs(id: bigint) {
    return statFileSystem(this.#descriptors.openFile(id).fd)
  }

  #openStream(id: bigint): bigint {
    return this.#descriptors.add({ kind: "stream", listing: newListing(this.#reopen(id)) })
  }

  #batch(id: bigint, amount: bigint): DirEntry[] {
    const listing = this.#descriptors.stream(id)
    const entries: DirEntry[] = []
    const most = amount < maxBatchEntries ? Number(amount) : maxBatchEntries
    while (entries.length < most) {
      const entry = nextEntry(listing)
      if (!entry) break
      entries.push(entry)
    }
    return entries
  }

  #records(id: bigint, bufferBytes: bigint): { fd: bigint; entries: DirEntry[]; resultSize: bigint } {
    const folder = this.#descriptors.folder(id)
    folder.listing ??= newListing(this.#reopen(id))
    const room = bufferBytes < maxRecordBytes ? Number(bufferBytes) : maxRecordBytes
    const { entries, bytes } = nextRecords(folder.listing, room)
    return { fd: id, entries, resultSize: BigInt(bytes) }
  }

  /** The same folder with a position of its own. */
  #reopen(id: bigint): number {
    const flags = openFlag.directory | openFlag.readOnly | openFlag.closeOnExec
    return check(syscall("openat", this.#descriptors.folder(id).fd, Buffer.from(".\0"), flags, 0), "open folder")
  }
}

function call(name: "ftruncate" | "fchown" | "fchmod", ...args: (number | bigint)[]): void {
  check(syscall(name, ...args), name)
}

function mustBeAbsolute(path: string): void {
  if (path.startsWith("/")) return
  throw new AppError("path-not-absolute", `File request with the relative path "${path}"`, {
    next: "Send an absolute path.",
  })
}
