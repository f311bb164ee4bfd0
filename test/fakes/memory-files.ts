import {
  ErrnoError,
  type FileIntent,
  type FilePlace,
  type FileWorld,
  type OpenMode,
  type RemoteDirEntry,
  type RemoteFile,
  type RemoteStat,
} from "../../core/client/engine.ts"
import { errno } from "../../core/linux/errno.ts"

type Node =
  | { kind: "file"; ino: bigint; mode: number; bytes: Buffer; mtimeNs: bigint }
  | { kind: "directory"; ino: bigint; mode: number; mtimeNs: bigint }
  | { kind: "link"; ino: bigint; target: string; mtimeNs: bigint }

export interface MemoryFilesOptions {
  /** Content by absolute path; parents are made. */
  files?: Record<string, string | Uint8Array>
  links?: Record<string, string>
  /** Default: everything below "/remote" is remote, the rest local. */
  place?(path: string, intent: FileIntent): FilePlace
  /** Files up to this size come whole with `openForReading`. */
  readAheadBytes?: number
  /** Called before each answer, e.g. to make it late. */
  delay?(what: string): Promise<void>
}

/** A file system in memory that behaves like the pod's as far as a program can tell. */
export class MemoryFiles implements FileWorld {
  readonly nodes = new Map<string, Node>()
  /** Every question asked, e.g. `stat /remote/a`. */
  readonly asked: string[] = []
  openFiles = 0
  readonly #options: MemoryFilesOptions
  #nextIno = 1000n

  constructor(options: MemoryFilesOptions = {}) {
    this.#options = options
    this.#parents("/remote/x")
    for (const [path, content] of Object.entries(options.files ?? {})) this.put(path, content)
    for (const [path, target] of Object.entries(options.links ?? {})) {
      this.#parents(path)
      this.nodes.set(path, { kind: "link", ino: this.#nextIno++, target, mtimeNs: now() })
    }
  }

  put(path: string, content: string | Uint8Array): void {
    this.#parents(path)
    const bytes = Buffer.from(content as string)
    this.nodes.set(path, { kind: "file", ino: this.#nextIno++, mode: 0o644, bytes, mtimeNs: now() })
  }

  /** Content of a file as text; undefined when there is none. */
  text(path: string): string | undefined {
    const node = this.nodes.get(path)
    return node?.kind === "file" ? node.bytes.toString("utf8") : undefined
  }

  place(path: string, intent: FileIntent): FilePlace {
    if (this.#options.place) return this.#options.place(path, intent)
    return { place: path === "/remote" || path.startsWith("/remote/") ? "remote" : "local", path }
  }

  async openForReading(path: string) {
    await this.#ask("open", path)
    const node = this.#follow(path)
    const stat = statOf(node)
    const small = node.kind === "file" && node.bytes.length <= (this.#options.readAheadBytes ?? 128_000)
    const file = this.#open(node, { read: true, append: false })
    return small ? { file, stat, content: new Uint8Array(node.bytes) } : { file, stat }
  }

  async open(path: string, mode: OpenMode): Promise<RemoteFile> {
    await this.#ask("open-for-writing", path)
    const real = this.#resolve(path)
    let node = this.nodes.get(real)
    if (node && mode.exclusive) throw new ErrnoError(errno.EEXIST, path)
    if (!node) {
      if (!mode.create) throw new ErrnoError(errno.ENOENT, path)
      this.#parentOf(real)
      node = { kind: "file", ino: this.#nextIno++, mode: 0o644, bytes: Buffer.alloc(0), mtimeNs: now() }
      this.nodes.set(real, node)
    }
    if (node.kind === "directory" && mode.write) throw new ErrnoError(errno.EISDIR, path)
    if (mode.truncate && node.kind === "file") node.bytes = Buffer.alloc(0)
    return this.#open(node, mode)
  }

  async stat(path: string, followLinks: boolean): Promise<RemoteStat> {
    await this.#ask("stat", path)
    return statOf(followLinks ? this.#follow(path) : this.#node(path))
  }

  async statFs(path: string) {
    await this.#ask("statfs", path)
    const none = 0n
    return {
      type: 0xef53n,
      bsize: 4096n,
      blocks: 1000n,
      bfree: 500n,
      bavail: 400n,
      files: none,
      ffree: none,
      fsid: [1, 2] as const,
      namelen: 255n,
      frsize: 4096n,
      flags: none,
    }
  }

  async access(path: string, _mode: number): Promise<void> {
    await this.#ask("access", path)
    this.#follow(path)
  }

  async readLink(path: string): Promise<string> {
    await this.#ask("readlink", path)
    const node = this.#node(path)
    if (node.kind !== "link") throw new ErrnoError(errno.EINVAL, path)
    return node.target
  }

  async makeDirectory(path: string, mode: number): Promise<void> {
    await this.#ask("mkdir", path)
    const real = clean(path)
    if (this.nodes.has(real)) throw new ErrnoError(errno.EEXIST, path)
    this.#parentOf(real)
    this.nodes.set(real, { kind: "directory", ino: this.#nextIno++, mode: mode & 0o777, mtimeNs: now() })
  }

  async removeDirectory(path: string): Promise<void> {
    await this.#ask("rmdir", path)
    if (this.#node(path).kind !== "directory") throw new ErrnoError(errno.ENOTDIR, path)
    if (this.#children(clean(path)).length > 0) throw new ErrnoError(errno.ENOTEMPTY, path)
    this.nodes.delete(clean(path))
  }

  async unlink(path: string): Promise<void> {
    await this.#ask("unlink", path)
    if (this.#node(path).kind === "directory") throw new ErrnoError(errno.EISDIR, path)
    this.nodes.delete(clean(path))
  }

  async rename(from: string, to: string): Promise<void> {
    await this.#ask("rename", from)
    const node = this.#node(from)
    if (this.nodes.get(clean(to))?.kind === "directory") throw new ErrnoError(errno.EISDIR, to)
    const [old, renamed] = [clean(from), clean(to)]
    this.nodes.delete(old)
    this.nodes.set(renamed, node)
    for (const [path, child] of [...this.nodes].filter(([path]) => path.startsWith(`${old}/`))) {
      this.nodes.delete(path)
      this.nodes.set(renamed + path.slice(old.length), child)
    }
  }

  async list(path: string): Promise<RemoteDirEntry[]> {
    await this.#ask("list", path)
    const node = this.#follow(path)
    if (node.kind !== "directory") throw new ErrnoError(errno.ENOTDIR, path)
    const entries = this.#children(this.#resolve(path)).map(([name, child]) => ({
      name,
      ino: child.ino,
      type: child.kind === "file" ? 8 : child.kind === "directory" ? 4 : 10,
    }))
    return [{ name: ".", ino: node.ino, type: 4 }, { name: "..", ino: node.ino, type: 4 }, ...entries]
  }

  #open(node: Node, mode: { read: boolean; append: boolean }): RemoteFile {
    this.openFiles++
    let open = true
    const file = () => {
      if (node.kind !== "file") throw new ErrnoError(errno.EISDIR, "a directory")
      return node
    }
    const writeAt = (offset: number, data: Uint8Array) => {
      const target = file()
      const end = offset + data.length
      limit(end)
      if (end > target.bytes.length)
        target.bytes = Buffer.concat([target.bytes, Buffer.alloc(end - target.bytes.length)])
      target.bytes.set(data, offset)
      target.mtimeNs = now()
      return data.length
    }
    return {
      stat: async () => {
        const stat = statOf(node)
        await this.#options.delay?.("fstat")
        return stat
      },
      readAt: async (offset, length) => {
        await this.#ask("read", String(offset))
        if (!mode.read) throw new ErrnoError(errno.EBADF, "not open for reading")
        return new Uint8Array(file().bytes.subarray(Number(offset), Number(offset) + length))
      },
      writeAt: async (offset, data) => {
        await this.#options.delay?.(`write ${offset}`)
        return writeAt(mode.append ? file().bytes.length : Number(offset), data)
      },
      append: async (data) => {
        await this.#options.delay?.("append")
        return writeAt(file().bytes.length, data)
      },
      truncate: async (size) => {
        const target = file()
        limit(Number(size))
        const bytes = Buffer.alloc(Number(size))
        target.bytes.copy(bytes)
        target.bytes = bytes
      },
      setTimes: async (_atime, mtime) => {
        node.mtimeNs = mtime
      },
      setMode: async (mode) => {
        if (node.kind !== "link") node.mode = mode
      },
      setOwner: async () => {},
      close: () => {
        if (open) this.openFiles--
        open = false
      },
    }
  }

  async #ask(what: string, path: string): Promise<void> {
    this.asked.push(`${what} ${path}`)
    await this.#options.delay?.(`${what} ${path}`)
  }

  #children(folder: string): [string, Node][] {
    const prefix = folder === "/" ? "/" : `${folder}/`
    return [...this.nodes]
      .filter(([path]) => path.startsWith(prefix) && path !== prefix && !path.slice(prefix.length).includes("/"))
      .map(([path, node]) => [path.slice(prefix.length), node])
  }

  #node(path: string): Node {
    const node = this.nodes.get(clean(path))
    if (node) return node
    const parent = this.nodes.get(clean(`${path}/..`))
    throw new ErrnoError(parent?.kind === "file" ? errno.ENOTDIR : errno.ENOENT, path)
  }

  #resolve(path: string, depth = 0): string {
    const node = this.nodes.get(clean(path))
    if (node?.kind !== "link" || depth > 8) return clean(path)
    return this.#resolve(node.target.startsWith("/") ? node.target : `${path}/../${node.target}`, depth + 1)
  }

  #follow(path: string): Node {
    return this.#node(this.#resolve(path))
  }

  #parentOf(path: string): void {
    const parent = this.nodes.get(clean(`${path}/..`))
    if (!parent) throw new ErrnoError(errno.ENOENT, path)
    if (parent.kind !== "directory") throw new ErrnoError(errno.ENOTDIR, path)
  }

  #parents(path: string): void {
    const parent = clean(`${path}/..`)
    if (!this.nodes.has(parent)) {
      if (parent !== "/") this.#parents(parent)
      this.nodes.set(parent, { kind: "directory", ino: this.#nextIno++, mode: 0o755, mtimeNs: now() })
    }
  }
}

/** Larger files than this do not fit into the fake. */
const maxFileBytes = 256 * 1024 * 1024

function limit(size: number): void {
  if (size < 0 || size > maxFileBytes) throw new ErrnoError(errno.EFBIG, "the fake's file is full")
}

function clean(path: string): string {
  const parts: string[] = []
  for (const part of path.split("/")) {
    if (part === "..") parts.pop()
    else if (part !== "" && part !== ".") parts.push(part)
  }
  return `/${parts.join("/")}`
}

function now(): bigint {
  return BigInt(Date.now()) * 1_000_000n
}

const types = { file: 0o100000, directory: 0o040000, link: 0o120000 }

function statOf(node: Node): RemoteStat {
  const size =
    node.kind === "file" ? BigInt(node.bytes.length) : node.kind === "link" ? BigInt(node.target.length) : 4096n
  return {
    dev: 77n,
    ino: node.ino,
    mode: types[node.kind] | (node.kind === "link" ? 0o777 : node.mode),
    nlink: 1n,
    uid: 0,
    gid: 0,
    rdev: 0n,
    size,
    blksize: 4096n,
    blocks: (size + 511n) / 512n,
    atimeNs: node.mtimeNs,
    mtimeNs: node.mtimeNs,
    ctimeNs: node.mtimeNs,
  }
}
