import { type Denied, policyName } from "../../host.ts"
import type { ClientMessage, DaemonMessage, ResponseError, SocketAddress } from "../../protocol/index.ts"
import type { OutgoingRequest } from "../../session.ts"

/** A connect of one of the three families, whatever its form. */
export interface OutgoingConnect {
  family: "TcpOutgoing" | "UdpOutgoing" | "SeqpacketOutgoing"
  address: SocketAddress
  /** Absent for the first form, whose answers are matched by order. */
  uid?: string
}

export function outgoingConnect(message: ClientMessage): OutgoingConnect | undefined {
  if (message.kind !== "TcpOutgoing" && message.kind !== "UdpOutgoing" && message.kind !== "SeqpacketOutgoing") return
  const { kind: family, value } = message
  if (value.kind === "ConnectV2") return { family, address: value.value.remoteAddress, uid: value.value.uid }
  if (value.kind === "Connect") return { family, address: value.value.remoteAddress }
  return undefined
}

export function outgoingQuestion({ family, address }: OutgoingConnect): Omit<OutgoingRequest, "session" | "names"> {
  if (address.kind === "Unix") return { protocol: "unix", host: unixName(address.value) }
  return { protocol: family === "UdpOutgoing" ? "udp" : "tcp", host: address.value.ip, port: address.value.port }
}

/** The failed answer to a connect. */
export function failedConnect({ family, uid }: OutgoingConnect, error: ResponseError): DaemonMessage {
  const connect = { kind: "Err" as const, value: error }
  const value = uid === undefined ? { kind: "Connect", value: connect } : { kind: "ConnectV2", value: { uid, connect } }
  return { kind: family, value } as DaemonMessage
}

/** A plugin's denial as the client understands it: its program ends with the reason. */
export function forbiddenConnect(
  connect: OutgoingConnect,
  denial: Pick<Denied, "plugin" | "policy" | "reason">,
  withReason: boolean,
): DaemonMessage {
  const kind = connect.family === "UdpOutgoing" ? "OutgoingUdp" : "OutgoingTcp"
  const blockedAction = { kind, value: connect.address } as const
  const forbidden = { blockedAction, policyName: policyName(denial) }
  return failedConnect(
    connect,
    withReason
      ? { kind: "ForbiddenWithReason", value: { ...forbidden, reason: denial.reason } }
      : { kind: "Forbidden", value: forbidden },
  )
}

function unixName(address: Extract<SocketAddress, { kind: "Unix" }>["value"]): string {
  if (address.kind === "Pathname") return address.value
  return address.kind === "Abstract" ? `@${Buffer.from(address.value).toString("utf8")}` : ""
}
