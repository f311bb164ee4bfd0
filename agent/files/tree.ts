import { check, errno, LinuxError } from "../../core/linux/errno.ts"
import { inParent, openBelow, openFlag, withOpenBelow } from "../../core/linux/open.ts"
import { type FileStat, type FileSystemStat, statFd, statFileSystem } from "../../core/linux/stat.ts"
import { cString, syscall } from "../../core/linux/syscall.ts"
import { RefusedRequest } from "../response-error.ts"

/** As open(2) without a wish of one's own; the umask takes its part. */
const createMode = 0o666
const AT_REMOVEDIR = 0x200
const AT_EMPTY_PATH = 0x1000
const pathMaxBytes = 4096
const noName = cString("")
const strictText = new TextDecoder("utf-8", { fatal: true })

/** What can be done by path below one root folder. Nothing here reaches outside it; everything may throw LinuxError. */
export class Tree {
  readonly #rootFd: number

  constructor(rootFd: number) {
    this.#rootFd = rootFd
  }

  /** The caller closes the descriptor. */
  open(path: string, flags: number): number {
    return openBelow(this.#rootFd, path, flags, createMode)
  }

  stat(path: string, followLinks: boolean): FileStat {
    return this.#at(path, followLinks ? 0 : openFlag.noFollow, statFd)
  }

  statFileSystem(path: string): FileSystemStat {
    return this.#at(path, 0, statFileSystem)
  }

  /** `mode`: R 4, W 2, X 1, existence 0. */
  access(path: string, mode: number): void {
    this.#at(path, 0, (fd) => check(syscall("faccessat2", fd, noName, mode, AT_EMPTY_PATH), "access"))
  }

  /** @throws RefusedRequest for a relative path, as mirrord's agent */
  readLink(path: string): string {
    if (!path.startsWith("/")) throw new RefusedRequest({ kind: "StripPrefix", value: `"${path}" is not absolute` })
    return this.#at(path, openFlag.noFollow, (fd) => {
      const target = Buffer.alloc(pathMaxBytes)
      const length = syscall("readlinkat", fd, noName, target, pathMaxBytes)
      // With an empty name the kernel says ENOENT where readlink(2) of a path says EINVAL: the file is no link.
      if (length === -errno.ENOENT) throw new LinuxError(errno.EINVAL, "readlink")
      return text(target.subarray(0, check(length, "readlink")))
    })
  }

  makeDirectory(path: string, mode: number): void {
    inParent(this.#rootFd, path, (folder, name) => check(syscall("mkdirat", folder, name, mode), "mkdir"))
  }

  /** `flags`: 0 for files, AT_REMOVEDIR (0x200) for folders. */
  unlink(path: string, flags: number): void {
    if (flags !== 0 && flags !== AT_REMOVEDIR) throw new LinuxError(errno.EINVAL, "unlink")
    inParent(this.#rootFd, path, (folder, name) => check(syscall("unlinkat", folder, name, flags), "unlink"))
  }

  removeDirectory(path: string): void {
    this.unlink(path, AT_REMOVEDIR)
  }

  rename(from: string, to: string): void {
    inParent(this.#rootFd, from, (fromFolder, fromName) =>
      inParent(this.#rootFd, to, (toFolder, toName) =>
        check(syscall("renameat2", fromFolder, fromName, toFolder, toName, 0), "rename"),
      ),
    )
  }

  #at<T>(path: string, flags: number, use: (fd: number) => T): T {
    return withOpenBelow(this.#rootFd, path, openFlag.path | flags, use)
  }
}

/** The protocol carries text only; a name in another encoding cannot be expressed. */
function text(bytes: Uint8Array): string {
  try {
    return strictText.decode(bytes)
  } catch {
    throw new LinuxError(errno.EILSEQ, "name that is not UTF-8")
  }
}
