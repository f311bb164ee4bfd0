import { joined } from "../protocol/index.ts"

/** From so many bytes on what is gathered is written without waiting for more. */
export const fullWriteBytes = 64 * 1024
/** Pieces are put together up to this size, in bytes: copying more costs as much as a write of its own. */
const largestJoinedBytes = 128 * 1024
/** What is short takes so much of a long chunk behind it along, in bytes: one TLS record. */
const recordBytes = 16 * 1024

/**
 * The same bytes in fewer pieces, for carriers that take one piece at a time. The head of a message in a write of its own
 * would be a packet, a TLS record and a wakeup of its own.
 */
export function writePieces(chunks: readonly Uint8Array[]): Uint8Array[] {
  const pieces: Uint8Array[] = []
  let run: Uint8Array[] = []
  let bytes = 0
  const endRun = () => {
    if (run.length > 0) pieces.push(joined(run))
    run = []
    bytes = 0
  }
  for (const chunk of chunks) {
    let rest = chunk
    if (bytes + rest.length > largestJoinedBytes) {
      const lacking = bytes === 0 ? 0 : Math.max(0, recordBytes - bytes)
      if (lacking > 0) run.push(rest.subarray(0, lacking))
      rest = rest.subarray(lacking)
      endRun()
    }
    run.push(rest)
    bytes += rest.length
  }
  endRun()
  return pieces
}
