import { createWriteStream, lstatSync, readdirSync, readFileSync, readlinkSync } from "node:fs"
import { basename, dirname, join } from "node:path"
import { finished } from "node:stream/promises"

/** A file or folder of this machine and its path in the archive, without a slash in front. */
export interface Piece {
  from: string
  to: string
  /** Says of a path in the archive whether it comes along, with everything below it. Default: all do. */
  keep?(path: string): boolean
}

const typeBits = 0o170000
const types = { file: 0o100000, folder: 0o040000, link: 0o120000 }

/**
 * Writes what the kernel unpacks as its first file system; everything belongs to root there. Each entry: 6 digits of magic,
 * 13 numbers of 8 hexadecimal digits, the name with a NUL, the content; name and content padded to 4 bytes.
 * Source: Documentation/driver-api/early-userspace/buffer-format.rst.
 */
export async function writeCpio(file: string, pieces: readonly Piece[]): Promise<void> {
  const out = createWriteStream(file)
  const write = async (bytes: Uint8Array) => {
    if (!out.write(bytes)) await new Promise((resolve) => out.once("drain", resolve))
  }
  let inode = 0
  const entry = async (name: string, mode: number, modified: number, content: Uint8Array) => {
    const path = Buffer.from(`${name}\0`)
    const [links, owner, device] = [1, 0, 0]
    const words = [++inode, mode, owner, owner, links, modified, content.length]
    words.push(device, device, device, device, path.length, 0)
    const head = Buffer.from(`070701${words.map((word) => word.toString(16).padStart(8, "0")).join("")}`)
    await write(Buffer.concat([head, path, padding(head.length + path.length)]))
    await write(content)
    await write(padding(content.length))
  }
  const folders = new Set(["."])
  const folder = async (name: string, mode: number, modified: number): Promise<void> => {
    if (folders.has(name)) return
    await folder(dirname(name), types.folder | 0o755, 0)
    folders.add(name)
    await entry(name, mode, modified, Buffer.alloc(0))
  }
  const add = async ({ from, to, keep }: Piece): Promise<void> => {
    if (keep && !keep(to)) return
    const { mode, mtimeMs } = lstatSync(from)
    const type = mode & typeBits
    const modified = Math.floor(mtimeMs / 1000)
    await folder(dirname(to), types.folder | 0o755, modified)
    if (type === types.file) await entry(to, mode, modified, readFileSync(from))
    else if (type === types.link) await entry(to, mode, modified, Buffer.from(readlinkSync(from)))
    else if (type === types.folder) {
      if (to !== "") await folder(to, mode, modified)
      for (const name of readdirSync(from)) {
        await add({ from: join(from, name), to: join(to, basename(name)), ...(keep && { keep }) })
      }
    }
  }
  for (const piece of pieces) await add(piece)
  await entry("TRAILER!!!", 0, 0, Buffer.alloc(0))
  out.end()
  await finished(out)
}

function padding(length: number): Buffer {
  return Buffer.alloc((4 - (length % 4)) % 4)
}
