/** What an AppError may carry besides its code and message. */
export interface AppErrorOptions {
  cause?: unknown
  /** What the reader can do about it; one imperative sentence. */
  next?: string
  /** Process exit code when this error ends the program. Default 1. */
  exitCode?: number
}

/**
 * A fault with a stable code, e.g. `new AppError("lock-held", 'Cannot steal port 8080 of "deployment/api": locked by "k3f"')`.
 * Codes are kebab-case and are part of the public contract; messages are for people and never contain secrets.
 * A denial is not a fault: see `Decision` in plugin.ts.
 */
export class AppError extends Error {
  override readonly name = "AppError"
  readonly code: string
  readonly next: string | undefined
  readonly exitCode: number

  constructor(code: string, message: string, options: AppErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    this.code = code
    this.next = options.next
    this.exitCode = options.exitCode ?? 1
  }
}

/** The text of anything that was thrown, without a stack trace. */
export function errorText(thrown: unknown): string {
  return thrown instanceof Error ? thrown.message : String(thrown)
}

const fileFaults: Record<string, string> = {
  ENOENT: "there is no such file or folder",
  EACCES: "you may not read it",
  EPERM: "you may not read it",
  EISDIR: "it is a folder",
  ENOTDIR: "a part of its path is no folder",
  ELOOP: "its links lead in a circle",
}

/** Why a file that a user named cannot be used, as a clause that does not name it again. */
export function fileFault(thrown: unknown): string {
  const code = thrown instanceof Error ? (thrown as NodeJS.ErrnoException).code : undefined
  return (code !== undefined && fileFaults[code]) || errorText(thrown).split("\n")[0]!.replace(/:$/, "")
}
