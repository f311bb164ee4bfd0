import type { DnsWorld, RemoteStat } from "../../../../core/client/engine.ts"
import { S_IFREG } from "../kernel/structures.ts"

/** A file that only the program sees. */
export interface VirtualFile {
  path: string
  content: Uint8Array
  stat: RemoteStat
}

/**
 * The files that steer name resolution, as the world has them. They have to look the same in every `stat`: the C library
 * compares to find out whether it must read them again.
 */
export function resolverFiles(dns: DnsWorld | undefined): (path: string) => Promise<VirtualFile | undefined> {
  if (!dns) return async () => undefined
  const names = new Set(["/etc/resolv.conf", "/etc/hosts", "/etc/nsswitch.conf"])
  let table: Promise<Map<string, VirtualFile>> | undefined
  const load = async () => {
    const { resolvConf, hosts, nsswitch } = await dns.files()
    const files = new Map<string, VirtualFile>()
    const add = (path: string, text: string | undefined) => {
      if (text !== undefined) files.set(path, virtualFile(path, text, files.size + 1))
    }
    add("/etc/resolv.conf", resolvConf)
    add("/etc/hosts", hosts)
    add("/etc/nsswitch.conf", nsswitch)
    return files
  }
  return async (path) => {
    if (!names.has(path)) return undefined
    table ??= load()
    table.catch(() => {
      table = undefined
    })
    return (await table).get(path)
  }
}

/** A device number no real file system has, so that the pair with the inode is nobody else's. */
const virtualDevice = 0xfffn
const blockBytes = 4096n

function virtualFile(path: string, text: string, ino: number): VirtualFile {
  const content = Buffer.from(text)
  const now = BigInt(Date.now()) * 1_000_000n
  const size = BigInt(content.length)
  return {
    path,
    content,
    stat: {
      dev: virtualDevice,
      ino: BigInt(ino),
      mode: S_IFREG | 0o644,
      nlink: 1n,
      uid: 0,
      gid: 0,
      rdev: 0n,
      size,
      blksize: blockBytes,
      blocks: ((size + blockBytes - 1n) / blockBytes) * 8n,
      atimeNs: now,
      mtimeNs: now,
      ctimeNs: now,
    },
  }
}
