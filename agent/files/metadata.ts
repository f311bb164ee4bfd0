import type { FileStat, FileSystemStat } from "../../core/linux/stat.ts"
import type { FileMetadata, FsMetadata, FsMetadataV2 } from "../../core/protocol/index.ts"

/** "Creation" is the protocol's word for the time of the last change of the inode. */
export function fileMetadata(stat: FileStat): FileMetadata {
  return {
    deviceId: stat.dev,
    inode: stat.ino,
    mode: stat.mode,
    hardLinks: BigInt(stat.nlink),
    userId: stat.uid,
    groupId: stat.gid,
    rdeviceId: stat.rdev,
    size: stat.size,
    accessTime: stat.atimeNs,
    modificationTime: stat.mtimeNs,
    creationTime: stat.ctimeNs,
    blockSize: BigInt(stat.blksize),
    blocks: stat.blocks,
  }
}

export function fsMetadata(stat: FileSystemStat): FsMetadata {
  return {
    filesystemType: stat.type,
    blockSize: stat.bsize,
    blocks: stat.blocks,
    blocksFree: stat.bfree,
    blocksAvailable: stat.bavail,
    files: stat.files,
    filesFree: stat.ffree,
  }
}

export function fsMetadataV2(stat: FileSystemStat): FsMetadataV2 {
  return {
    ...fsMetadata(stat),
    filesystemId: stat.fsid,
    nameLen: stat.namelen,
    fragmentSize: stat.frsize,
    flags: stat.flags,
  }
}
