import { check } from "./errno.ts"
import { openFlag, statusFlags } from "./open.ts"
import { syscall } from "./syscall.ts"

const F_SETFL = 4

/* Whether calls wait belongs to the open file: whoever has a descriptor of it sees a change. */

/** @throws LinuxError */
export function isNonBlocking(fd: number): boolean {
  return (statusFlags(fd) & openFlag.nonBlocking) !== 0
}

/** @throws LinuxError */
export function setNonBlocking(fd: number, wanted: boolean): void {
  const flags = statusFlags(fd)
  const changed = wanted ? flags | openFlag.nonBlocking : flags & ~openFlag.nonBlocking
  if (changed !== flags) check(syscall("fcntl", fd, F_SETFL, changed), "fcntl")
}

/**
 * Runs a call that must not block this thread. The flag is put back at once; another thread that begins a call in this very moment
 * may get EAGAIN, which is why it is only set where needed. @throws LinuxError
 */
export function withoutBlocking<T>(fd: number, make: () => T): T {
  const flags = statusFlags(fd)
  if (flags & openFlag.nonBlocking) return make()
  syscall("fcntl", fd, F_SETFL, flags | openFlag.nonBlocking)
  try {
    return make()
  } finally {
    syscall("fcntl", fd, F_SETFL, flags)
  }
}
