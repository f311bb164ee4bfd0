import { readFileSync, readlinkSync } from "node:fs"
import type { Endpoint } from "../../../../core/interceptor.ts"
import { AF_INET, AF_INET6, decodeEndpoint } from "../../../../core/linux/socket-address.ts"

const tables = [
  { path: "/proc/net/tcp", family: AF_INET },
  { path: "/proc/net/tcp6", family: AF_INET6 },
] as const

/** Names of a connected TCP socket of a thread, from the kernel's table; undefined for every other descriptor. */
export function connectedSocket(
  tid: number,
  fd: number,
): { family: number; own: Endpoint; peer: Endpoint } | undefined {
  const inode = /^socket:\[(\d+)\]$/.exec(linkOf(`/proc/${tid}/fd/${fd}`))?.[1]
  if (inode === undefined) return undefined
  for (const { path, family } of tables) {
    const names = namesIn(textOf(path), inode)
    const own = names && endpointOf(family, names[0])
    const peer = names && endpointOf(family, names[1])
    if (own && peer) return { family, own, peer }
  }
  return undefined
}

/** Columns: number, own name, other name, state, queues, timer, retransmits, user, timeout, inode. */
function namesIn(table: string, inode: string): [own: string, peer: string] | undefined {
  for (const line of table.split("\n")) {
    const words = line.trim().split(/\s+/)
    if (words[9] === inode) return [words[1]!, words[2]!]
  }
  return undefined
}

/** `0100007F:1F90`: the address as words of this machine's byte order (little-endian on all the engine knows), the port as a number. */
function endpointOf(family: number, text: string): Endpoint | undefined {
  const [address = "", port = ""] = text.split(":")
  const bytes = Buffer.from(address, "hex")
  bytes.swap32()
  const portBytes = Buffer.from(port, "hex")
  // struct sockaddr_in: family, port, address; sockaddr_in6: family, port, flow u32, address, scope u32.
  const head = Buffer.from([family, 0, portBytes[0]!, portBytes[1]!])
  return decodeEndpoint(
    family === AF_INET
      ? Buffer.concat([head, bytes, Buffer.alloc(8)])
      : Buffer.concat([head, Buffer.alloc(4), bytes, Buffer.alloc(4)]),
  )
}

function textOf(path: string): string {
  try {
    return readFileSync(path, "utf8")
  } catch {
    return ""
  }
}

function linkOf(path: string): string {
  try {
    return readlinkSync(path)
  } catch {
    return ""
  }
}
