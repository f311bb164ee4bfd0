import type { Infer } from "../codec.ts"
import { map, variants } from "../composites.ts"
import { bool, none, str, u128 } from "../primitives.ts"
import { semver } from "../semver.ts"
import { result } from "./errors.ts"
import { fileRequest, fileResponse } from "./files.ts"
import { daemonTcp, layerTcp, layerTcpSteal } from "./incoming.ts"
import {
  daemonSeqpacket,
  daemonTcpOutgoing,
  daemonUdpOutgoing,
  layerSeqpacket,
  layerTcpOutgoing,
  layerUdpOutgoing,
} from "./outgoing.ts"
import {
  clientVpn,
  daemonPauseTarget,
  getAddrInfoRequest,
  getAddrInfoRequestV2,
  getAddrInfoResponse,
  getEnvVarsRequest,
  logMessage,
  reverseDnsLookupRequest,
  reverseDnsLookupResponse,
  serverVpn,
  shareLinkRequest,
} from "./session.ts"

/** What a client sends to an agent or an operator. */
export const clientMessageCodec = variants("ClientMessage", {
  Close: none,
  Tcp: layerTcp,
  TcpSteal: layerTcpSteal,
  TcpOutgoing: layerTcpOutgoing,
  UdpOutgoing: layerUdpOutgoing,
  FileRequest: fileRequest,
  GetEnvVarsRequest: getEnvVarsRequest,
  Ping: none,
  GetAddrInfoRequest: getAddrInfoRequest,
  PauseTargetRequest: bool,
  SwitchProtocolVersion: semver,
  ReadyForLogs: none,
  Vpn: clientVpn,
  GetAddrInfoRequestV2: getAddrInfoRequestV2,
  OperatorPong: u128,
  ReverseDnsLookup: reverseDnsLookupRequest,
  SeqpacketOutgoing: layerSeqpacket,
  ShareLink: shareLinkRequest,
})
export type ClientMessage = Infer<typeof clientMessageCodec>

/** What an agent or an operator sends to a client. */
export const daemonMessageCodec = variants("DaemonMessage", {
  Close: str,
  Tcp: daemonTcp,
  TcpSteal: daemonTcp,
  TcpOutgoing: daemonTcpOutgoing,
  UdpOutgoing: daemonUdpOutgoing,
  LogMessage: logMessage,
  File: fileResponse,
  Pong: none,
  GetEnvVarsResponse: result(map(str, str)),
  GetAddrInfoResponse: getAddrInfoResponse,
  PauseTarget: daemonPauseTarget,
  SwitchProtocolVersionResponse: semver,
  Vpn: serverVpn,
  OperatorPing: u128,
  ReverseDnsLookup: reverseDnsLookupResponse,
  SeqpacketOutgoing: daemonSeqpacket,
})
export type DaemonMessage = Infer<typeof daemonMessageCodec>
