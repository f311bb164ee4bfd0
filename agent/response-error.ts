import { errno, errnoName, LinuxError } from "../core/linux/errno.ts"
import type { ErrorKind, ResponseError, Result } from "../core/protocol/index.ts"

/** Kinds of Rust's standard library by errno; others go as `Unknown` with a text. */
const kinds: Partial<Record<number, Exclude<ErrorKind["kind"], "Unknown">>> = {
  [errno.ENOENT]: "NotFound",
  [errno.EPERM]: "PermissionDenied",
  [errno.EACCES]: "PermissionDenied",
  [errno.ECONNREFUSED]: "ConnectionRefused",
  [errno.ECONNRESET]: "ConnectionReset",
  [errno.EHOSTUNREACH]: "HostUnreachable",
  [errno.ENETUNREACH]: "NetworkUnreachable",
  [errno.ECONNABORTED]: "ConnectionAborted",
  [errno.ENOTCONN]: "NotConnected",
  [errno.EADDRINUSE]: "AddrInUse",
  [errno.EADDRNOTAVAIL]: "AddrNotAvailable",
  [errno.ENETDOWN]: "NetworkDown",
  [errno.EPIPE]: "BrokenPipe",
  [errno.EEXIST]: "AlreadyExists",
  [errno.EAGAIN]: "WouldBlock",
  [errno.ENOTDIR]: "NotADirectory",
  [errno.EISDIR]: "IsADirectory",
  [errno.ENOTEMPTY]: "DirectoryNotEmpty",
  [errno.EROFS]: "ReadOnlyFilesystem",
  [errno.ELOOP]: "FilesystemLoop",
  [errno.ESTALE]: "StaleNetworkFileHandle",
  [errno.EINVAL]: "InvalidInput",
  [errno.ETIMEDOUT]: "TimedOut",
  [errno.ENOSPC]: "StorageFull",
  [errno.ESPIPE]: "NotSeekable",
  [errno.EDQUOT]: "FilesystemQuotaExceeded",
  [errno.EFBIG]: "FileTooLarge",
  [errno.EBUSY]: "ResourceBusy",
  [errno.ETXTBSY]: "ExecutableFileBusy",
  [errno.EDEADLK]: "Deadlock",
  [errno.EXDEV]: "CrossesDevices",
  [errno.EMLINK]: "TooManyLinks",
  [errno.ENAMETOOLONG]: "InvalidFilename",
  [errno.E2BIG]: "ArgumentListTooLong",
  [errno.EINTR]: "Interrupted",
  [errno.ENOSYS]: "Unsupported",
  [errno.EOPNOTSUPP]: "Unsupported",
  [errno.ENOMEM]: "OutOfMemory",
}

/** A refusal that already has the protocol's form; throw it where a request is served. */
export class RefusedRequest extends Error {
  override readonly name = "RefusedRequest"
  readonly response: ResponseError
  constructor(response: ResponseError) {
    super(response.kind)
    this.response = response
  }
}

/** An operating system error with its number, which is what the program will see. */
export function osError(number: number): ResponseError {
  const known = kinds[number]
  const kind: ErrorKind = known ? ({ kind: known } as ErrorKind) : { kind: "Unknown", value: errnoName(number) }
  return { kind: "RemoteIO", value: { rawOsError: number, kind } }
}

/** The answer for what a request threw; faults of the agent itself are thrown on. */
export function refused(thrown: unknown): { kind: "Err"; value: ResponseError } {
  if (thrown instanceof LinuxError) return { kind: "Err", value: osError(thrown.errno) }
  if (thrown instanceof RefusedRequest) return { kind: "Err", value: thrown.response }
  throw thrown
}

/** Runs a request; a failed system call or a refusal becomes its answer. */
export function attempt<T>(serve: () => T): Result<T> {
  try {
    return { kind: "Ok", value: serve() }
  } catch (thrown) {
    return refused(thrown)
  }
}

/** As `attempt`, for requests whose success says nothing. */
export function attemptUnit(serve: () => void): Result<null> {
  return attempt(() => {
    serve()
    return null
  })
}
