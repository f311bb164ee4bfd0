import { ErrnoError, type FileWorld, type RemoteFile } from "../../../../core/client/engine.ts"
import { errno } from "../../../../core/linux/errno.ts"

/** Opens a remote file or folder for as long as `use` needs it. */
export async function withFile<T>(
  files: FileWorld,
  path: string,
  access: "read" | "write",
  use: (file: RemoteFile) => Promise<T>,
): Promise<T> {
  const [read, write] = [access === "read", access === "write"]
  const file = await files.open(path, { read, write, append: false, truncate: false, create: false, exclusive: false })
  try {
    return await use(file)
  } finally {
    file.close()
  }
}

/**
 * Changes attributes of a remote file or folder: opened for reading, because that is what a folder allows, and a file that
 * belongs to the program need not be writable for it.
 */
export const changeAttributes = <T>(files: FileWorld, path: string, change: (file: RemoteFile) => Promise<T>) =>
  withFile(files, path, "read", change)

/**
 * For calls on a descriptor, which may have been opened for reading only: what the session may not write cannot be changed
 * by way of it either. @throws ErrnoError EROFS
 */
export function mustBeWritable(files: FileWorld | undefined, path: string): asserts files is FileWorld {
  if (files?.place(path, "write").place !== "remote") throw new ErrnoError(errno.EROFS, "the session only reads this")
}
