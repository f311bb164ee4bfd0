import { readFileSync } from "node:fs"

const LISTEN = "0A"

/** Whether anybody listens for TCP on `port` in the network namespace of the calling thread. */
export function isListening(port: number): boolean {
  const suffix = `:${port.toString(16).toUpperCase().padStart(4, "0")}`
  return ["tcp", "tcp6"].some((table) => {
    // Columns: slot, local address, remote address, state in hexadecimal, …
    return lines(`/proc/thread-self/net/${table}`).some((line) => {
      const [, local, , state] = line.trim().split(/\s+/, 4)
      return state === LISTEN && local?.endsWith(suffix)
    })
  })
}

/** A namespace without IPv6 has no tcp6 table. */
function lines(path: string): string[] {
  try {
    return readFileSync(path, "utf8").split("\n")
  } catch {
    return []
  }
}
