/** From so many bytes on what is gathered is written without waiting for more. */
export const fullWriteBytes = 64 * 1024
/** Chunks are put together up to this size, in bytes: copying more costs as much as a write of its own. */
const largestRunBytes = 128 * 1024
/** What is short takes so much of a long chunk behind it along, in bytes: one TLS record. */
const recordBytes = 16 * 1024

/**
 * The same bytes as runs of chunks, each worth one write, for carriers that take one piece at a time. The head of a message in a
 * write of its own would be a packet, a TLS record and a wakeup of its own.
 */
export function writeRuns(chunks: readonly Uint8Array[]): Uint8Array[][] {
  const runs: Uint8Array[][] = []
  let run: Uint8Array[] = []
  let bytes = 0
  const endRun = () => {
    if (run.length > 0) runs.push(run)
    run = []
    bytes = 0
  }
  for (const chunk of chunks) {
    let rest = chunk
    if (bytes + rest.length > largestRunBytes) {
      const lacking = bytes === 0 ? 0 : Math.max(0, recordBytes - bytes)
      if (lacking > 0) run.push(rest.subarray(0, lacking))
      rest = rest.subarray(lacking)
      endRun()
    }
    run.push(rest)
    bytes += rest.length
  }
  endRun()
  return runs
}

let lent: Uint8Array | undefined

/**
 * A run as one piece that is good until the next call, for whoever has copied or sent what it takes when its write returns. Memory
 * for each would be as much garbage as bulk has bytes.
 */
export function lentPiece(run: readonly Uint8Array[]): Uint8Array {
  if (run.length === 1) return run[0]!
  lent ??= new Uint8Array(largestRunBytes)
  let bytes = 0
  for (const chunk of run) {
    lent.set(chunk, bytes)
    bytes += chunk.length
  }
  return lent.subarray(0, bytes)
}
