import { socketAddress } from "../addresses.ts"
import type { Codec, Infer } from "../codec.ts"
import { option, struct, tuple, variants } from "../composites.ts"
import { bool, i32, none, str, u16, u32, u64 } from "../primitives.ts"
import { httpFilter } from "./http-filter.ts"

export const stealType = variants("StealType", {
  /** The whole port. */
  All: u16,
  /** Old form: a port and a regular expression for a header. */
  FilteredHttp: tuple(u16, str),
  FilteredHttpEx: tuple(u16, httpFilter),
})
export type StealType = Infer<typeof stealType>

/** The names of Rust's error kinds; only `Unknown` has a text. */
const errorKind = variants("ErrorKindInternal", {
  NotFound: none,
  PermissionDenied: none,
  ConnectionRefused: none,
  ConnectionReset: none,
  HostUnreachable: none,
  NetworkUnreachable: none,
  ConnectionAborted: none,
  NotConnected: none,
  AddrInUse: none,
  AddrNotAvailable: none,
  NetworkDown: none,
  BrokenPipe: none,
  AlreadyExists: none,
  WouldBlock: none,
  NotADirectory: none,
  IsADirectory: none,
  DirectoryNotEmpty: none,
  ReadOnlyFilesystem: none,
  FilesystemLoop: none,
  StaleNetworkFileHandle: none,
  InvalidInput: none,
  InvalidData: none,
  TimedOut: none,
  WriteZero: none,
  StorageFull: none,
  NotSeekable: none,
  FilesystemQuotaExceeded: none,
  FileTooLarge: none,
  ResourceBusy: none,
  ExecutableFileBusy: none,
  Deadlock: none,
  CrossesDevices: none,
  TooManyLinks: none,
  InvalidFilename: none,
  ArgumentListTooLong: none,
  Interrupted: none,
  Unsupported: none,
  UnexpectedEof: none,
  OutOfMemory: none,
  Other: none,
  Unknown: str,
})
export type ErrorKind = Infer<typeof errorKind>

const resolveErrorKind = variants("ResolveErrorKindInternal", {
  Message: str,
  NoConnections: none,
  /** DNS response code: 3 = no such name, 0 = no such record. */
  NoRecordsFound: u16,
  Proto: none,
  Timeout: none,
  Unknown: none,
  NotFound: none,
  PermissionDenied: none,
})
export type ResolveErrorKind = Infer<typeof resolveErrorKind>

const remoteIoError = struct({ rawOsError: option(i32), kind: errorKind })
/** `rawOsError` is the Linux errno; it decides what the program sees, the kind is for logs. */
export type RemoteIoError = Infer<typeof remoteIoError>

const remoteError = variants("RemoteError", {
  NameserverNotFound: none,
  AddressParsing: str,
  InvalidAddress: socketAddress,
  ConnectTimedOut: socketAddress,
  BadHttpFilterRegex: tuple(str, str),
  BadHttpFilterExRegex: tuple(httpFilter, str),
})
export type RemoteError = Infer<typeof remoteError>

const blockedAction = variants("BlockedAction", {
  Steal: stealType,
  Mirror: u16,
  OutgoingTcp: socketAddress,
  OutgoingUdp: socketAddress,
})
export type BlockedAction = Infer<typeof blockedAction>

export const responseError = variants("ResponseError", {
  /** The text names the operation. */
  IdsExhausted: str,
  /** Unknown descriptor. */
  NotFound: u64,
  NotDirectory: u64,
  NotFile: u64,
  RemoteIO: remoteIoError,
  DnsLookup: struct({ kind: resolveErrorKind }),
  Remote: remoteError,
  PortAlreadyStolen: u16,
  NotImplemented: none,
  Forbidden: struct({ blockedAction, policyName: option(str) }),
  StripPrefix: str,
  /** Use the file of the client's machine instead. */
  OpenLocal: none,
  ForbiddenWithReason: struct({ blockedAction, policyName: option(str), reason: str }),
  /** Code 1: the responsible agent was lost. */
  SystemFailure: struct({ canRetry: bool, code: u32, message: str }),
})
export type ResponseError = Infer<typeof responseError>

export type Result<T> = { kind: "Ok"; value: T } | { kind: "Err"; value: ResponseError }

export function result<T>(of: Codec<T>): Codec<Result<T>> {
  return variants("Result", { Ok: of, Err: responseError }) as unknown as Codec<Result<T>>
}
