import { ip } from "../addresses.ts"
import type { Infer } from "../codec.ts"
import { struct, tuple, variants } from "../composites.ts"
import { bytes, u16, u64 } from "../primitives.ts"
import { result, stealType } from "./errors.ts"
import {
  chunkedRequest,
  chunkedResponse,
  framedRequest,
  framedResponse,
  trafficTransport,
  wholeRequest,
  wholeResponse,
} from "./http.ts"
import { httpFilter } from "./http-filter.ts"

/** Empty bytes mean that this side sends no more. */
const tcpData = struct({ connectionId: u64, bytes })
export type TcpData = Infer<typeof tcpData>

/** Mirroring: what a client asks for. */
export const layerTcp = variants("LayerTcp", {
  PortSubscribe: u16,
  ConnectionUnsubscribe: u64,
  PortUnsubscribe: u16,
  PortSubscribeFilteredHttp: tuple(u16, httpFilter),
})
export type LayerTcp = Infer<typeof layerTcp>

export const layerTcpSteal = variants("LayerTcpSteal", {
  PortSubscribe: stealType,
  ConnectionUnsubscribe: u64,
  PortUnsubscribe: u16,
  Data: tcpData,
  HttpResponse: wholeResponse,
  HttpResponseFramed: framedResponse,
  HttpResponseChunked: chunkedResponse,
})
export type LayerTcpSteal = Infer<typeof layerTcpSteal>

const newTcpConnection = struct({
  connectionId: u64,
  remoteAddress: ip,
  destinationPort: u16,
  sourcePort: u16,
  localAddress: ip,
})
export type NewTcpConnection = Infer<typeof newTcpConnection>

/** Incoming traffic on its way to the client, in both modes. */
export const daemonTcp = variants("DaemonTcp", {
  NewConnectionV1: newTcpConnection,
  Data: tcpData,
  Close: struct({ connectionId: u64 }),
  SubscribeResult: result(u16),
  HttpRequest: wholeRequest,
  HttpRequestFramed: framedRequest,
  HttpRequestChunked: chunkedRequest,
  NewConnectionV2: struct({ connection: newTcpConnection, transport: trafficTransport }),
})
export type DaemonTcp = Infer<typeof daemonTcp>
