/** One entry of an archive. Names are paths without a leading slash; bytes allow names that are not UTF-8. */
export interface TarEntry {
  name: string | Uint8Array
  /** Content of a file. Without it and without `link` the entry is a folder. */
  content?: Uint8Array
  /** Where a symbolic link points. */
  link?: string
  /** Permission bits. Default 0o755. */
  mode?: number
  uid?: number
  gid?: number
}

const blockBytes = 512
const longestName = 100

/**
 * A POSIX ustar archive whose times are all zero, so that equal entries give equal bytes. The parts are not joined: an
 * image is larger than one would like to hold twice.
 *
 * Header fields by offset: name 0, mode 100, uid 108, gid 116, size 124, mtime 136, checksum 148, type 156, link 157,
 * magic 257, version 263. Numbers are octal text.
 * @throws RangeError for a name or link longer than 100 bytes
 */
export function tarParts(entries: readonly TarEntry[]): Uint8Array[] {
  const parts = entries.flatMap((entry) => {
    const content = entry.content ?? new Uint8Array()
    const padding = (blockBytes - (content.length % blockBytes)) % blockBytes
    return [header(entry), content, new Uint8Array(padding)]
  })
  return [...parts, new Uint8Array(2 * blockBytes)].filter((part) => part.length > 0)
}

function header({ name, content, link, mode = 0o755, uid = 0, gid = 0 }: TarEntry): Uint8Array {
  const block = Buffer.alloc(blockBytes)
  const text = (value: string | Uint8Array, at: number) => {
    const bytes = typeof value === "string" ? Buffer.from(value) : value
    if (bytes.length > longestName) throw new RangeError(`A name in the archive is too long: ${value}`)
    block.set(bytes, at)
  }
  const octal = (value: number, at: number, digits: number) => text(`${value.toString(8).padStart(digits, "0")}\0`, at)
  text(name, 0)
  octal(mode, 100, 7)
  octal(uid, 108, 7)
  octal(gid, 116, 7)
  octal(content?.length ?? 0, 124, 11)
  octal(0, 136, 11)
  text(link !== undefined ? "2" : content !== undefined ? "0" : "5", 156)
  if (link !== undefined) text(link, 157)
  text("ustar\x0000", 257)
  // The checksum is the sum of all bytes, with its own field taken as blanks.
  block.fill(" ", 148, 156)
  octal(
    block.reduce((sum, byte) => sum + byte, 0),
    148,
    6,
  )
  return block
}
