import { gcAndSweep } from "bun:jsc"

/** A collection takes about 4 ms, a tenth of the time in which so much arrives at full speed. */
const everyBytes = 32 << 20

/** Calls `collect` after every 32 MiB the returned function is told of. */
export function collecting(collect: () => void): (receivedBytes: number) => void {
  let uncollectedBytes = 0
  return (receivedBytes) => {
    uncollectedBytes += receivedBytes
    if (uncollectedBytes < everyBytes) return
    uncollectedBytes = 0
    collect()
  }
}

/**
 * To be told of what arrives in bulk, in a process that is given little memory. The runtime looks at the machine's memory, not at what its
 * container may use, and frees what it found unused bit by bit, while other connections go on reading: without this a hundred of them
 * take half as much again, a thousand twice as much.
 */
export const collectReceived = collecting(gcAndSweep)
