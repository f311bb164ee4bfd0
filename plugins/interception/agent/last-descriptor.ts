import { openSync } from "node:fs"
import { LinuxError } from "../../../core/linux/errno.ts"
import { syscall } from "../../../core/linux/syscall.ts"

const O_CLOEXEC = 0o2000000

/**
 * Takes a descriptor number early, for what must outlive all else when the process is killed: the kernel then closes from the highest number
 * to the lowest. Returns how to move a descriptor there, once; it gives the number the descriptor has from then on.
 */
export function reserveLastDescriptor(): (fd: number) => number {
  let reserved: number | undefined = openSync("/dev/null", "r")
  return (fd) => {
    if (reserved === undefined || reserved > fd) return fd
    const moved = syscall("dup3", fd, reserved, O_CLOEXEC)
    if (moved < 0) throw new LinuxError(moved, "move a descriptor")
    reserved = undefined
    syscall("close", fd)
    return moved
  }
}
