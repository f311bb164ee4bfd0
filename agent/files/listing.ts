import { statFd } from "../../core/linux/stat.ts"
import type { DirEntry } from "../../core/protocol/index.ts"
import type { FolderListing } from "./descriptors.ts"

const DT_DIR = 4

/** The next entry as `readdir` shows it: without `.` and `..`, numbered from 0. */
export function nextEntry(listing: FolderListing): DirEntry | undefined {
  for (let entry = listing.reader.take(); entry; entry = listing.reader.take()) {
    if (entry.name === "." || entry.name === "..") continue
    return { inode: entry.ino, position: listing.position++, name: entry.name, fileType: entry.type }
  }
  return undefined
}

/**
 * The next entries as getdents64 shows them, `.` and `..` first, as many as fit into `bufferBytes` of the kernel's
 * records. No entries mean the end.
 */
export function nextRecords(listing: FolderListing, bufferBytes: number): { entries: DirEntry[]; bytes: number } {
  const entries: DirEntry[] = []
  let bytes = 0
  for (let entry = peekRecord(listing); entry; entry = peekRecord(listing)) {
    const length = recordBytes(entry.name)
    if (bytes + length > bufferBytes) break
    bytes += length
    entries.push(entry)
    if (listing.position >= 2n) listing.reader.take()
    listing.position++
  }
  return { entries, bytes }
}

function peekRecord(listing: FolderListing): DirEntry | undefined {
  const { position, reader, fd } = listing
  // The parent's number is not looked up: above the root it would be somebody else's, and nothing uses it.
  if (position < 2n) return { inode: statFd(fd).ino, position, name: position === 0n ? "." : "..", fileType: DT_DIR }
  let entry = reader.peek()
  while (entry && (entry.name === "." || entry.name === "..")) {
    reader.take()
    entry = reader.peek()
  }
  return entry && { inode: entry.ino, position, name: entry.name, fileType: entry.type }
}

/** 20 bytes before the name, a multiple of 8 in all; as the protocol counts, not as the kernel does. */
function recordBytes(name: string): number {
  return Math.ceil((20 + Buffer.byteLength(name)) / 8) * 8
}
