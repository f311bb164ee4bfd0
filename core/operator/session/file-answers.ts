import type { Denied } from "../../host.ts"
import {
  type DaemonMessage,
  type FileRequest,
  type FileResponse,
  type ResponseError,
  supports,
} from "../../protocol/index.ts"

/** The variant that answers each request; `Close` and `CloseDir` have no answer. */
const answers = {
  Open: "Open",
  OpenRelative: "Open",
  Read: "Read",
  ReadLimited: "ReadLimited",
  Seek: "Seek",
  Write: "Write",
  WriteLimited: "WriteLimited",
  Access: "Access",
  Xstat: "Xstat",
  XstatFs: "XstatFs",
  FdOpenDir: "OpenDir",
  ReadDir: "ReadDir",
  GetDEnts64: "GetDEnts64",
  ReadLink: "ReadLink",
  ReadDirBatch: "ReadDirBatch",
  MakeDir: "MakeDir",
  MakeDirAt: "MakeDir",
  RemoveDir: "RemoveDir",
  Unlink: "Unlink",
  UnlinkAt: "Unlink",
  StatFs: "XstatFs",
  XstatFsV2: "XstatFsV2",
  StatFsV2: "XstatFsV2",
  Rename: "Rename",
  Ftruncate: "Ftruncate",
  Futimens: "Futimens",
  Fchown: "Fchown",
  Fchmod: "Fchmod",
} as const satisfies Record<Exclude<FileRequest["kind"], "Close" | "CloseDir">, FileResponse["kind"]>

/** A failure in the form that answers `request`; undefined when it has no answer. */
export function failedFile(request: FileRequest, error: ResponseError): DaemonMessage | undefined {
  if (request.kind === "Close" || request.kind === "CloseDir") return undefined
  return { kind: "File", value: { kind: answers[request.kind], value: { kind: "Err", value: error } } as FileResponse }
}

const ENOENT = 2
const EACCES = 13

/** What a plugin's denial is to the program. Clients older than `OpenLocal` do not find what they should open themselves. */
export function refusedFile({ answer }: Pick<Denied, "answer">, opens: boolean, version: string): ResponseError {
  if (answer === undefined) return accessDenied
  return answer === "local" && opens && supports(version, "openLocal") ? { kind: "OpenLocal" } : notFound
}

const notFound: ResponseError = {
  kind: "RemoteIO",
  value: { rawOsError: ENOENT, kind: { kind: "NotFound" } },
}
export const accessDenied: ResponseError = {
  kind: "RemoteIO",
  value: { rawOsError: EACCES, kind: { kind: "PermissionDenied" } },
}
