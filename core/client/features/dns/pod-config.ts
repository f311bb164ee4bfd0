import { parseResolvConf, type ResolverConfig } from "../../../resolv-conf.ts"
import { ErrnoError, type FileWorld } from "../../engine.ts"
import { readSmallFile } from "../hostname.ts"
import { errno } from "../response-errno.ts"

const maxBytes = 64 << 10

/**
 * What the pod's /etc/resolv.conf says, read when it is first needed; undefined where it cannot be read, because there is none or the
 * cluster's owner keeps it. Never rejects.
 */
export function createPodConfig(files: Pick<FileWorld, "openForReading">): () => Promise<ResolverConfig | undefined> {
  const read = () => readSmallFile(files, "/etc/resolv.conf", maxBytes).then(parseResolvConf)
  let known: Promise<ResolverConfig | undefined> | undefined
  return () => {
    // A connection that was lost meanwhile is made again.
    known ??= read()
      .catch((thrown: unknown) => {
        if (thrown instanceof ErrnoError && thrown.errno === errno.EIO) return read()
        throw thrown
      })
      .catch(() => undefined)
    return known
  }
}
