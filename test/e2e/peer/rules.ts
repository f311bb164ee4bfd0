import {
  compareVersions,
  type DaemonMessage,
  type DaemonTcp,
  type FileRequest,
  type FileResponse,
  type ProtocolFeature,
  since,
} from "../../../core/protocol/index.ts"

/** The answer each file request must get, also when it fails. The two closing requests get none. */
export const answerOf: Record<Exclude<FileRequest["kind"], "Close" | "CloseDir">, FileResponse["kind"]> = {
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
}

export const fileFeature: Partial<Record<FileRequest["kind"], ProtocolFeature>> = {
  ReadLink: "readLink",
  ReadDirBatch: "readDirBatch",
  MakeDir: "makeDir",
  MakeDirAt: "makeDir",
  RemoveDir: "removeDir",
  Unlink: "removeDir",
  UnlinkAt: "removeDir",
  StatFs: "statFs",
  XstatFsV2: "statFsV2",
  StatFsV2: "statFsV2",
  Rename: "rename",
  Ftruncate: "copyFile",
  Futimens: "copyFile",
  Fchown: "copyFile",
  Fchmod: "copyFile",
}

/** What a client of `version` cannot decode, or takes for the end of everything; undefined for a good message. */
export function whyFatal(message: DaemonMessage, version: string): string | undefined {
  const needs = (feature: ProtocolFeature) =>
    compareVersions(version, since[feature]) < 0 ? `${feature} at version ${version}` : undefined
  switch (message.kind) {
    case "PauseTarget":
    case "Vpn":
    case "ReverseDnsLookup":
      return message.kind
    case "LogMessage":
      return message.value.level.kind === "Info" ? needs("infoLog") : undefined
    case "TcpOutgoing":
    case "UdpOutgoing":
    case "SeqpacketOutgoing":
      if (message.value.kind === "Read" && message.value.value.kind === "Err") return "Read(Err)"
      if (message.kind === "SeqpacketOutgoing") return needs("seqpacket")
      return message.value.kind === "ConnectV2" ? needs("connectV2") : undefined
    case "GetAddrInfoResponse": {
      const { kind, value } = message.value
      const denied = kind === "Err" && value.kind === "DnsLookup" && value.value.kind.kind === "PermissionDenied"
      return denied ? "DNS PermissionDenied" : undefined
    }
    case "Tcp":
    case "TcpSteal":
      return whyFatalTraffic(message.value, message.kind === "Tcp", needs)
    default:
      return undefined
  }
}

/** Largest piece a real agent puts into one message. */
const maxDataBytes = 64 << 10

function whyFatalTraffic(
  message: DaemonTcp,
  isMirror: boolean,
  needs: (feature: ProtocolFeature) => string | undefined,
): string | undefined {
  const inMirror = isMirror ? needs("modeAgnosticHttp") : undefined
  switch (message.kind) {
    case "SubscribeResult": {
      if (message.value.kind === "Ok") return undefined
      const { kind } = message.value.value
      const known = ["PortAlreadyStolen", "Forbidden", "ForbiddenWithReason"].includes(kind)
      return known ? undefined : `SubscribeResult(${kind})`
    }
    case "NewConnectionV2":
      return needs("modeAgnosticHttp")
    case "Data":
      return message.value.bytes.length > maxDataBytes
        ? `${message.value.bytes.length} bytes in one message`
        : undefined
    case "HttpRequest":
      return inMirror ?? badRequestId(message.value.requestId)
    case "HttpRequestFramed":
      return inMirror ?? needs("httpFramed") ?? badRequestId(message.value.requestId)
    case "HttpRequestChunked": {
      const feature = message.value.kind.endsWith("V2") ? "httpChunkedRequestV2" : "httpChunkedRequest"
      return inMirror ?? needs(feature) ?? badRequestId(message.value.value.requestId)
    }
    default:
      return undefined
  }
}

const badRequestId = (id: number) => (id === 0 ? undefined : `request id ${id}`)
