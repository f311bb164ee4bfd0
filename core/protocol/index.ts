/*
 * The wire: mirrord protocol 1.29.0, bincode 2 in its standard configuration. Pure: bytes in, values out.
 *
 * | tag (varint) | fields, one after the other |
 *
 * There is no length, magic or version before a message; only the decoder knows where it ends.
 */
export type { SocketAddress, UnixAddr } from "./addresses.ts"
export { targetEnded } from "./close-reasons.ts"
export { type Divide, divideClientMessage, divideDaemonMessage } from "./divide.ts"
export type { HttpHeaders, HttpVersion } from "./http-parts.ts"
export { formatIp, parseIp } from "./ip.ts"
export { defaultLimits, type Limits } from "./limits.ts"
export { type LookupLife, lifeOf, lifeProtocol, lifeRecord } from "./lookup-life.ts"
export { joined, type MessageCodec, messageCodec } from "./message-codec.ts"
export { MessageDecoder } from "./message-decoder.ts"
export type * from "./messages/errors.ts"
export type * from "./messages/files.ts"
export type * from "./messages/http.ts"
export type { HttpBodyFilter, HttpFilter, HttpMethodFilter } from "./messages/http-filter.ts"
export type * from "./messages/incoming.ts"
export type { ClientMessage, DaemonMessage } from "./messages/index.ts"
export type * from "./messages/outgoing.ts"
export type * from "./messages/session.ts"
export { type SearchWalk, walkOf, walkProtocol, walkRecord } from "./search-walk.ts"
export { compareVersions } from "./semver.ts"
export { isMoveToken, movedBy, moveHeader, moveVersion, upgradeToken } from "./upgrade.ts"
export {
  featuresOf,
  negotiate,
  type ProtocolFeature,
  protocolVersion,
  since,
  supports,
  unnegotiatedVersion,
} from "./version.ts"
export { Writer } from "./writer.ts"

import { messageCodec } from "./message-codec.ts"
import { clientMessageCodec, daemonMessageCodec } from "./messages/index.ts"

export const clientMessage = messageCodec(clientMessageCodec)
export const daemonMessage = messageCodec(daemonMessageCodec)
