import { expect, test } from "bun:test"
import { osError } from "./response-error.ts"

/** What Rust's standard library calls the errors of Linux; the numbers are x86-64's and arm64's. */
const kinds = {
  NotFound: [2],
  PermissionDenied: [1, 13],
  ConnectionRefused: [111],
  ConnectionReset: [104],
  HostUnreachable: [113],
  NetworkUnreachable: [101],
  ConnectionAborted: [103],
  NotConnected: [107],
  AddrInUse: [98],
  AddrNotAvailable: [99],
  NetworkDown: [100],
  BrokenPipe: [32],
  AlreadyExists: [17],
  WouldBlock: [11],
  NotADirectory: [20],
  IsADirectory: [21],
  DirectoryNotEmpty: [39],
  ReadOnlyFilesystem: [30],
  FilesystemLoop: [40],
  StaleNetworkFileHandle: [116],
  InvalidInput: [22],
  TimedOut: [110],
  StorageFull: [28],
  NotSeekable: [29],
  FilesystemQuotaExceeded: [122],
  FileTooLarge: [27],
  ResourceBusy: [16],
  ExecutableFileBusy: [26],
  Deadlock: [35],
  CrossesDevices: [18],
  TooManyLinks: [31],
  InvalidFilename: [36],
  ArgumentListTooLong: [7],
  Interrupted: [4],
  Unsupported: [38, 95],
  OutOfMemory: [12],
}

test.each(Object.entries(kinds).flatMap(([kind, numbers]) => numbers.map((number) => [number, kind] as const)))(
  "error %d is told as %s, with its number",
  (number, kind) => {
    expect(osError(number)).toEqual({ kind: "RemoteIO", value: { rawOsError: number, kind: { kind } as never } })
  },
)

test.each([
  [5, "EIO"],
  [9, "EBADF"],
  [524, "524"],
])("error %d, for which there is no word, keeps its number and a text", (number, text) => {
  const kind = { kind: "Unknown" as const, value: expect.stringContaining(text) }
  expect(osError(number)).toEqual({ kind: "RemoteIO", value: { rawOsError: number, kind } })
})
