import { errno, LinuxError } from "../../core/linux/errno.ts"
import { openFlag } from "../../core/linux/open.ts"
import type { OpenOptions } from "../../core/protocol/index.ts"

/**
 * Flags of open(2) for the protocol's options. Opening never waits for the other end of a named pipe and never makes
 * a terminal ours. @throws LinuxError EINVAL for options that say nothing or contradict themselves
 */
export function openFlags({ read, write, append, truncate, create, createNew }: OpenOptions): number {
  const writes = write || append
  if (!read && !writes) throw new LinuxError(errno.EINVAL, "open neither for reading nor for writing")
  if (truncate && !createNew && (append || !writes)) throw new LinuxError(errno.EINVAL, "truncate without writing")
  const access = writes ? (read ? openFlag.readWrite : openFlag.writeOnly) : openFlag.readOnly
  return (
    access |
    (append ? openFlag.append : 0) |
    (createNew ? openFlag.create | openFlag.exclusive : create ? openFlag.create : 0) |
    (truncate && !createNew ? openFlag.truncate : 0) |
    openFlag.nonBlocking |
    openFlag.noControllingTerminal
  )
}
