import type { DirEntry, FileMetadata, FsMetadata, FsMetadataV2 } from "../../../protocol/index.ts"
import type { RemoteDirEntry, RemoteStat, RemoteStatFs } from "../../engine.ts"

export function toStat(of: FileMetadata): RemoteStat {
  return {
    dev: of.deviceId,
    ino: of.inode,
    mode: of.mode,
    nlink: of.hardLinks,
    uid: of.userId,
    gid: of.groupId,
    rdev: of.rdeviceId,
    size: of.size,
    blksize: of.blockSize,
    blocks: of.blocks,
    atimeNs: of.accessTime,
    mtimeNs: of.modificationTime,
    ctimeNs: of.creationTime,
  }
}

/** Agents before 1.18.0 leave the last four fields out. */
export function toStatFs(of: FsMetadata | FsMetadataV2): RemoteStatFs {
  const more = "filesystemId" in of ? of : undefined
  return {
    type: of.filesystemType,
    bsize: of.blockSize,
    blocks: of.blocks,
    bfree: of.blocksFree,
    bavail: of.blocksAvailable,
    files: of.files,
    ffree: of.filesFree,
    fsid: more?.filesystemId ?? [0, 0],
    namelen: more?.nameLen ?? 255n,
    frsize: more?.fragmentSize ?? of.blockSize,
    flags: more?.flags ?? 0n,
  }
}

export const toDirEntry = ({ name, inode, fileType }: DirEntry): RemoteDirEntry => ({
  name,
  ino: inode,
  type: fileType,
})
