/*
 * The talk between the engine and its launcher, over a socket pair (descriptor 3 of the launcher):
 * engine   -> launcher  u32 length, LaunchRequest as JSON
 * launcher -> engine    i32 0: the filter comes now, look for its listener; or why not (see `startFailed`)
 * launcher -> engine    i32: a negative errno when there is no filter; otherwise nothing
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
  /** The listener is to be sent over descriptor 4, because nobody can fetch it. */
  sendListener: boolean
}

export const launcherFd = 3
/** Takes the listener (SCM_RIGHTS with one byte) where the request says so. */
export const listenerFd = 4
/** argv word that turns the binary into the launcher. */
export const launcherWord = "__launch"
