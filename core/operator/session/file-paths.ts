import { posix } from "node:path"
import type { DaemonMessage, FileRequest } from "../../protocol/index.ts"
import type { FileAccess } from "../../session.ts"

/** Descriptors whose path is remembered for one client; beyond that relative requests on the oldest are refused. */
const maxDescriptors = 16_384

type Question = Omit<FileAccess, "session">

/**
 * What a file request touches, as absolute paths without dots. Links are resolved by the agent, so a path that leads
 * elsewhere is judged by its own name.
 */
export class FilePaths {
  readonly #descriptors = new Map<bigint, string>()
  /** Paths of opens the agent has not answered yet, in order. */
  readonly #opening: string[] = []

  /** Empty when nothing is named by path; undefined when a descriptor is not known. */
  questions(request: FileRequest): Question[] | undefined {
    switch (request.kind) {
      case "Open":
        return [{ path: clean(request.value.path), access: openAccess(request.value.openOptions), opens: true }]
      case "OpenRelative":
        return this.#below(request.value.relativeFd, request.value.path, openAccess(request.value.openOptions), true)
      case "Xstat": {
        const { path, fd } = request.value
        if (path === null) return []
        return fd === null ? [{ path: clean(path), access: "read", opens: false }] : this.#below(fd, path, "read")
      }
      case "Access":
        return [
          {
            path: clean(request.value.pathname),
            access: (request.value.mode & 2) === 2 ? "write" : "read",
            opens: false,
          },
        ]
      case "ReadLink":
      case "StatFs":
      case "StatFsV2":
        return [{ path: clean(request.value.path), access: "read", opens: false }]
      case "MakeDir":
      case "RemoveDir":
      case "Unlink":
        return [{ path: clean(request.value.pathname), access: "write", opens: false }]
      case "MakeDirAt":
        return this.#below(request.value.dirfd, request.value.pathname, "write")
      case "UnlinkAt": {
        const { dirfd, pathname } = request.value
        return dirfd === null
          ? [{ path: clean(pathname), access: "write", opens: false }]
          : this.#below(dirfd, pathname, "write")
      }
      // Allowed on what was opened for reading, too.
      case "Fchmod":
      case "Fchown":
      case "Futimens": {
        const path = this.#descriptors.get(request.value.fd)
        return path === undefined ? undefined : [{ path, access: "write", opens: false }]
      }
      case "Rename":
        return [request.value.oldPath, request.value.newPath].map((path) => ({
          path: clean(path),
          access: "write",
          opens: false,
        }))
      default:
        return []
    }
  }

  /** The request goes to the agent. */
  sent(request: FileRequest, questions: readonly Question[]): void {
    if (request.kind === "Open" || request.kind === "OpenRelative") this.#opening.push(questions[0]?.path ?? "/")
    if (request.kind === "Close") this.#descriptors.delete(request.value.fd)
  }

  /** The agent's answer came. */
  answered(message: DaemonMessage): void {
    if (message.kind !== "File" || message.value.kind !== "Open") return
    const path = this.#opening.shift()
    if (message.value.value.kind !== "Ok" || path === undefined) return
    const oldest = this.#descriptors.size >= maxDescriptors ? this.#descriptors.keys().next().value : undefined
    if (oldest !== undefined) this.#descriptors.delete(oldest)
    this.#descriptors.set(message.value.value.value.fd, path)
  }

  /** Nothing that was asked will be answered by the agent any more, and its descriptors are void. */
  lost(): void {
    this.#opening.length = 0
    this.#descriptors.clear()
  }

  #below(descriptor: bigint, path: string, access: Question["access"], opens = false): Question[] | undefined {
    if (path.startsWith("/")) return [{ path: clean(path), access, opens }]
    const folder = this.#descriptors.get(descriptor)
    return folder === undefined ? undefined : [{ path: clean(`${folder}/${path}`), access, opens }]
  }
}

const clean = (path: string) => posix.normalize(path.startsWith("/") ? path : `/${path}`)

function openAccess(options: {
  write: boolean
  append: boolean
  truncate: boolean
  create: boolean
}): Question["access"] {
  return options.write || options.append || options.truncate || options.create ? "write" : "read"
}
