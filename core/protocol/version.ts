import { compareVersions } from "./semver.ts"

/** The version podside speaks. */
export const protocolVersion = "1.29.0"

/** What a peer that never negotiates is taken for. */
export const unnegotiatedVersion = "1.2.2"

/** From which version on something may be sent. */
export const since = {
  switchProtocolVersion: "1.3.0",
  httpFramed: "1.3.0",
  readyForLogs: "1.3.1",
  /** `DaemonTcp.Data` on a connection that began as an HTTP request. */
  httpUpgrade: "1.5.0",
  readLink: "1.6.0",
  httpChunkedRequest: "1.7.0",
  httpChunkedResponse: "1.8.1",
  readDirBatch: "1.9.0",
  compositeFilter: "1.11.0",
  mirrorBlocked: "1.12.0",
  makeDir: "1.13.0",
  openLocal: "1.13.3",
  infoLog: "1.13.4",
  /** RemoveDir, Unlink, UnlinkAt. */
  removeDir: "1.14.0",
  addrInfoV2: "1.15.0",
  statFs: "1.16.0",
  forbiddenWithReason: "1.17.0",
  statFsV2: "1.18.0",
  httpChunkedRequestV2: "1.19.0",
  /** NewConnectionV2, HTTP requests in mirror mode and for subscriptions without a filter. */
  modeAgnosticHttp: "1.19.4",
  operatorPing: "1.19.8",
  methodFilter: "1.20.0",
  rename: "1.21.0",
  mirrorHttpFilter: "1.21.1",
  connectV2: "1.22.0",
  bodyFilter: "1.23.0",
  /** Ftruncate, Futimens, Fchown, Fchmod. */
  copyFile: "1.24.0",
  reverseDns: "1.25.0",
  headerJqFilter: "1.26.0",
  seqpacket: "1.27.0",
  systemFailure: "1.28.0",
  shareLink: "1.29.0",
} as const

export type ProtocolFeature = keyof typeof since

/** May `feature` be used with a peer that agreed on `version`? @throws AppError "protocol-bad-version" */
export function supports(version: string, feature: ProtocolFeature): boolean {
  return compareVersions(version, since[feature]) >= 0
}

/** All that `supports` is true of: for whoever asks with every message. @throws AppError "protocol-bad-version" */
export function featuresOf(version: string): ReadonlySet<ProtocolFeature> {
  const features = Object.keys(since) as ProtocolFeature[]
  return new Set(features.filter((feature) => supports(version, feature)))
}

/** What a server answers: the older of the two. @throws AppError "protocol-bad-version" */
export function negotiate(theirs: string, ours: string = protocolVersion): string {
  return compareVersions(theirs, ours) < 0 ? theirs : ours
}
