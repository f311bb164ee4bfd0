import type { ErrorKind, ResponseError } from "../../protocol/index.ts"
import { ErrnoError, OpenLocally } from "../engine.ts"

export const errno = {
  ENOENT: 2,
  EIO: 5,
  ENOMEM: 12,
  EACCES: 13,
  EFAULT: 14,
  EEXIST: 17,
  ENOTDIR: 20,
  EISDIR: 21,
  EINVAL: 22,
  ENOSYS: 38,
  EADDRINUSE: 98,
  ENETUNREACH: 101,
  ETIMEDOUT: 110,
} as const

/** For errors that came without a number. */
const byKind: Partial<Record<ErrorKind["kind"], number>> = {
  NotFound: 2,
  PermissionDenied: 13,
  ConnectionRefused: 111,
  ConnectionReset: 104,
  HostUnreachable: 113,
  NetworkUnreachable: 101,
  ConnectionAborted: 103,
  NotConnected: 107,
  AddrInUse: 98,
  AddrNotAvailable: 99,
  NetworkDown: 100,
  BrokenPipe: 32,
  AlreadyExists: 17,
  NotADirectory: 20,
  IsADirectory: 21,
  DirectoryNotEmpty: 39,
  ReadOnlyFilesystem: 30,
  FilesystemLoop: 40,
  InvalidInput: 22,
  TimedOut: 110,
  StorageFull: 28,
  Unsupported: 95,
}

/** What an agent's refusal is for the program. */
export function toErrno(error: ResponseError): ErrnoError {
  switch (error.kind) {
    case "RemoteIO": {
      const { rawOsError, kind } = error.value
      return new ErrnoError(
        rawOsError ?? byKind[kind.kind] ?? errno.EIO,
        kind.kind === "Unknown" ? kind.value : kind.kind,
      )
    }
    case "OpenLocal":
      return new OpenLocally()
    case "NotFound":
      return new ErrnoError(errno.ENOENT, error.kind)
    case "NotDirectory":
      return new ErrnoError(errno.ENOTDIR, error.kind)
    case "NotFile":
      return new ErrnoError(errno.EISDIR, error.kind)
    case "IdsExhausted":
      return new ErrnoError(errno.ENOMEM, error.kind)
    case "Forbidden":
    case "ForbiddenWithReason":
      return new ErrnoError(errno.EACCES, forbiddenText(error) ?? error.kind)
    case "SystemFailure":
      return new ErrnoError(errno.EIO, error.value.message)
    case "Remote":
      return new ErrnoError(error.value.kind === "ConnectTimedOut" ? errno.ENETUNREACH : errno.EINVAL, error.value.kind)
    case "PortAlreadyStolen":
      return new ErrnoError(errno.EADDRINUSE, error.kind)
    default:
      return new ErrnoError(errno.EINVAL, error.kind)
  }
}

/** The sentence for the user when a policy of the cluster's owner refused something; undefined for other errors. */
export function forbiddenText(error: ResponseError): string | undefined {
  if (error.kind !== "Forbidden" && error.kind !== "ForbiddenWithReason") return undefined
  const { policyName } = error.value
  const policy = policyName === null ? "a policy of the cluster" : `the policy "${policyName}"`
  const reason = error.kind === "ForbiddenWithReason" ? `: ${error.value.reason}` : ""
  const { kind, value } = error.value.blockedAction
  const what =
    kind === "Steal"
      ? `stealing port ${typeof value.value === "number" ? value.value : value.value[0]}`
      : kind === "Mirror"
        ? `mirroring port ${value}`
        : "an outgoing connection"
  return `${policy} does not allow ${what}${reason}`
}
