/*
 * The talk between the engine and its launcher, over a socket pair (descriptor 3 of the launcher):
 * engine   -> launcher  u32 length, LaunchRequest as JSON
 * launcher -> engine    i32: number of the listener in the launcher, or a negative errno
 * engine   -> launcher  one byte, when the listener is watched
 * launcher -> engine    i32 errno of a failed start; nothing but the end when the program runs
 */
export interface LaunchRequest {
  command: string
  args: readonly string[]
  cwd: string
  env: Readonly<Record<string, string>>
  /** struct sock_filter array, base64. */
  filter: string
  /** RLIMIT_NOFILE to set: soft and hard. */
  openFiles: readonly [soft: number, hard: number]
}

export const launcherFd = 3
/** argv word that turns the binary into the launcher. */
export const launcherWord = "__launch"
