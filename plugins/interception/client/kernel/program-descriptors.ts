import { readdirSync } from "node:fs"
import { filteredDescendants } from "./orphans.ts"

/** A descriptor of the program, as one of its threads knows it. */
export interface ProgramDescriptor {
  tid: number
  fd: number
}

/**
 * The first descriptor of all the program's processes for which `isWanted`, which is given its path below /proc. Looks at every one of
 * them: for what is seldom needed.
 */
export function findDescriptor(isWanted: (path: string) => boolean): ProgramDescriptor | undefined {
  for (const tid of filteredDescendants()) {
    const number = numbersOf(tid).find((number) => isWanted(`/proc/${tid}/fd/${number}`))
    if (number !== undefined) return { tid, fd: Number(number) }
  }
  return undefined
}

/** Empty for a process that has ended. */
function numbersOf(pid: number): string[] {
  try {
    return readdirSync(`/proc/${pid}/fd`)
  } catch {
    return []
  }
}
