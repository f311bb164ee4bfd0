import type { Call } from "./call.ts"
import { readMemory } from "./tracee.ts"

const UTIME_NOW = 0x3fffffffn
const UTIME_OMIT = 0x3ffffffen
const nanoseconds = 1_000_000_000n

/** Times a call wants to set, in nanoseconds since 1970; undefined: leave it. */
export interface Times {
  atimeNs: bigint | undefined
  mtimeNs: bigint | undefined
}

/** Reads the times argument of utime, utimes, futimesat, utimensat. A null pointer means now. @throws LinuxError EFAULT */
export function readTimes(call: Call): Times {
  const argument = call.name === "utime" || call.name === "utimes" ? 1 : 2
  const now = BigInt(Date.now()) * 1_000_000n
  if (call.isNull(argument)) return { atimeNs: now, mtimeNs: now }
  const bytes = readMemory(call.tid, call.word(argument), call.name === "utime" ? 16 : 32)
  const word = (index: number) => bytes.readBigInt64LE(index * 8)
  switch (call.name) {
    case "utime":
      return { atimeNs: word(0) * nanoseconds, mtimeNs: word(1) * nanoseconds }
    case "utimensat": {
      const time = (seconds: bigint, rest: bigint) => {
        if (rest === UTIME_OMIT) return undefined
        return rest === UTIME_NOW ? now : seconds * nanoseconds + rest
      }
      return { atimeNs: time(word(0), word(1)), mtimeNs: time(word(2), word(3)) }
    }
    default:
      return { atimeNs: word(0) * nanoseconds + word(1) * 1000n, mtimeNs: word(2) * nanoseconds + word(3) * 1000n }
  }
}
