import type { Infer } from "../codec.ts"
import { list, option, struct, tuple, variants } from "../composites.ts"
import { bool, bytes, i32, i64, str, u8, u32, u64, unit } from "../primitives.ts"
import { result } from "./errors.ts"

const openOptions = struct({ read: bool, write: bool, append: bool, truncate: bool, create: bool, createNew: bool })
export type OpenOptions = Infer<typeof openOptions>

const seekFrom = variants("SeekFromInternal", { Start: u64, End: i64, Current: i64 })
export type SeekFrom = Infer<typeof seekFrom>

/** `tvNsec` also takes the special values of utimensat(2). */
const timespec = struct({ tvSec: i64, tvNsec: i64 })
export type Timespec = Infer<typeof timespec>

/** One answer each, in order, except `Close` and `CloseDir`, which have none. */
export const fileRequest = variants("FileRequest", {
  Open: struct({ path: str, openOptions }),
  OpenRelative: struct({ relativeFd: u64, path: str, openOptions }),
  Read: struct({ remoteFd: u64, bufferSize: u64 }),
  ReadLimited: struct({ remoteFd: u64, bufferSize: u64, startFrom: u64 }),
  Seek: struct({ fd: u64, seekFrom }),
  Write: struct({ fd: u64, writeBytes: bytes }),
  WriteLimited: struct({ remoteFd: u64, startFrom: u64, writeBytes: bytes }),
  Close: struct({ fd: u64 }),
  /** R 4, W 2, X 1, existence 0. */
  Access: struct({ pathname: str, mode: u8 }),
  Xstat: struct({ path: option(str), fd: option(u64), followSymlink: bool }),
  XstatFs: struct({ fd: u64 }),
  FdOpenDir: struct({ remoteFd: u64 }),
  ReadDir: struct({ remoteFd: u64 }),
  CloseDir: struct({ remoteFd: u64 }),
  GetDEnts64: struct({ remoteFd: u64, bufferSize: u64 }),
  ReadLink: struct({ path: str }),
  ReadDirBatch: struct({ remoteFd: u64, amount: u64 }),
  MakeDir: struct({ pathname: str, mode: u32 }),
  MakeDirAt: struct({ dirfd: u64, pathname: str, mode: u32 }),
  RemoveDir: struct({ pathname: str }),
  Unlink: struct({ pathname: str }),
  UnlinkAt: struct({ dirfd: option(u64), pathname: str, flags: u32 }),
  StatFs: struct({ path: str }),
  XstatFsV2: struct({ fd: u64 }),
  StatFsV2: struct({ path: str }),
  Rename: struct({ oldPath: str, newPath: str }),
  Ftruncate: struct({ fd: u64, length: i64 }),
  /** Access and modification time; null means now. */
  Futimens: struct({ fd: u64, times: option(tuple(timespec, timespec)) }),
  Fchown: struct({ fd: u64, owner: u32, group: u32 }),
  Fchmod: struct({ fd: u64, mode: u32 }),
})
export type FileRequest = Infer<typeof fileRequest>

/** Times are nanoseconds since 1970. */
const metadata = struct({
  deviceId: u64,
  inode: u64,
  mode: u32,
  hardLinks: u64,
  userId: u32,
  groupId: u32,
  rdeviceId: u64,
  size: u64,
  accessTime: i64,
  modificationTime: i64,
  creationTime: i64,
  blockSize: u64,
  blocks: u64,
})
export type FileMetadata = Infer<typeof metadata>

const fsMetadataFields = {
  filesystemType: i64,
  blockSize: i64,
  blocks: u64,
  blocksFree: u64,
  blocksAvailable: u64,
  files: u64,
  filesFree: u64,
}
const fsMetadata = struct(fsMetadataFields)
export type FsMetadata = Infer<typeof fsMetadata>

const fsMetadataV2 = struct({
  ...fsMetadataFields,
  filesystemId: tuple(i32, i32),
  nameLen: i64,
  fragmentSize: i64,
  flags: i64,
})
export type FsMetadataV2 = Infer<typeof fsMetadataV2>

/** `fileType` is a DT_* number. */
const dirEntry = struct({ inode: u64, position: u64, name: str, fileType: u8 })
export type DirEntry = Infer<typeof dirEntry>

const read = result(struct({ bytes, readAmount: u64 }))
const written = result(struct({ writtenAmount: u64 }))
const done = result(unit)

/** Tags do not follow those of the requests; StatFs is answered by XstatFs. */
export const fileResponse = variants("FileResponse", {
  Open: result(struct({ fd: u64 })),
  Read: read,
  ReadLimited: read,
  Write: written,
  WriteLimited: written,
  Seek: result(struct({ resultOffset: u64 })),
  Access: result(struct({})),
  Xstat: result(struct({ metadata })),
  XstatFs: result(struct({ metadata: fsMetadata })),
  ReadDir: result(struct({ direntry: option(dirEntry) })),
  OpenDir: result(struct({ fd: u64 })),
  GetDEnts64: result(struct({ fd: u64, entries: list(dirEntry), resultSize: u64 })),
  ReadLink: result(struct({ path: str })),
  ReadDirBatch: result(struct({ fd: u64, dirEntries: list(dirEntry) })),
  MakeDir: done,
  RemoveDir: done,
  Unlink: done,
  XstatFsV2: result(struct({ metadata: fsMetadataV2 })),
  Rename: done,
  Ftruncate: done,
  Futimens: done,
  Fchown: done,
  Fchmod: done,
})
export type FileResponse = Infer<typeof fileResponse>
