import { hostname } from "node:os"
import type { FileWorld } from "../engine.ts"

const maxHostnameBytes = 256

/** The pod's host name, asked for once. Falls back to this machine's when the pod tells none. */
export function createHostname(files: Pick<FileWorld, "openForReading">): () => Promise<string> {
  let known: Promise<string> | undefined
  return () => {
    known ??= readSmallFile(files, "/etc/hostname", maxHostnameBytes).then(
      (text) => text.trim() || hostname(),
      () => hostname(),
    )
    return known
  }
}

/** The first bytes of a file of the pod, as text. @throws ErrnoError */
export async function readSmallFile(
  files: Pick<FileWorld, "openForReading">,
  path: string,
  maxBytes: number,
): Promise<string> {
  const { file, content } = await files.openForReading(path)
  try {
    return new TextDecoder().decode((content ?? (await file.readAt(0n, maxBytes))).subarray(0, maxBytes))
  } finally {
    file.close()
  }
}
