import { socketAddress } from "../addresses.ts"
import type { Infer } from "../codec.ts"
import { struct, variants } from "../composites.ts"
import { bytes, u64 } from "../primitives.ts"
import { uid } from "../uuid.ts"
import { result } from "./errors.ts"

/** Empty bytes mean that no more data comes in this direction. */
const data = struct({ connectionId: u64, bytes })

const layerConnect = struct({ remoteAddress: socketAddress })
const layerConnectV2 = struct({ uid, remoteAddress: socketAddress })
const layerClose = struct({ connectionId: u64 })

const daemonConnect = struct({ connectionId: u64, remoteAddress: socketAddress, localAddress: socketAddress })
export type DaemonConnect = Infer<typeof daemonConnect>
const daemonConnectV2 = struct({ uid, connect: result(daemonConnect) })

const layer = { Connect: layerConnect, Write: data, Close: layerClose, ConnectV2: layerConnectV2 }
const daemon = { Connect: result(daemonConnect), Read: result(data), Close: u64, ConnectV2: daemonConnectV2 }

export const layerTcpOutgoing = variants("LayerTcpOutgoing", layer)
export type LayerTcpOutgoing = Infer<typeof layerTcpOutgoing>
export const layerUdpOutgoing = variants("LayerUdpOutgoing", layer)
export type LayerUdpOutgoing = Infer<typeof layerUdpOutgoing>
/** There is no first version of connect here, so the tags are shifted. */
export const layerSeqpacket = variants("LayerSeqpacket", { Write: data, Close: layerClose, ConnectV2: layerConnectV2 })
export type LayerSeqpacket = Infer<typeof layerSeqpacket>

export const daemonTcpOutgoing = variants("DaemonTcpOutgoing", daemon)
export type DaemonTcpOutgoing = Infer<typeof daemonTcpOutgoing>
export const daemonUdpOutgoing = variants("DaemonUdpOutgoing", daemon)
export type DaemonUdpOutgoing = Infer<typeof daemonUdpOutgoing>
export const daemonSeqpacket = variants("DaemonSeqpacket", {
  Read: result(data),
  Close: u64,
  ConnectV2: daemonConnectV2,
})
export type DaemonSeqpacket = Infer<typeof daemonSeqpacket>
