import type { ClientMessage, DaemonMessage } from "./messages/index.ts"

/**
 * Tells how to say a message again with other bytes, for messages whose bytes are a part of a stream: there a payload means
 * the same in one message or in several. Undefined for all others. Bytes given must not be empty: that ends a stream.
 */
export type Divide<T> = (message: T) => ((bytes: Uint8Array) => T) | undefined

export const divideClientMessage: Divide<ClientMessage> = (message) => {
  if (message.kind === "TcpOutgoing" && message.value.kind === "Write") {
    const { connectionId } = message.value.value
    return (bytes) => ({ kind: "TcpOutgoing", value: { kind: "Write", value: { connectionId, bytes } } })
  }
  if (message.kind === "TcpSteal" && message.value.kind === "Data") {
    const { connectionId } = message.value.value
    return (bytes) => ({ kind: "TcpSteal", value: { kind: "Data", value: { connectionId, bytes } } })
  }
  return undefined
}

export const divideDaemonMessage: Divide<DaemonMessage> = (message) => {
  if (message.kind === "TcpOutgoing" && message.value.kind === "Read" && message.value.value.kind === "Ok") {
    const { connectionId } = message.value.value.value
    return (bytes) => ({
      kind: "TcpOutgoing",
      value: { kind: "Read", value: { kind: "Ok", value: { connectionId, bytes } } },
    })
  }
  if ((message.kind === "Tcp" || message.kind === "TcpSteal") && message.value.kind === "Data") {
    const { kind } = message
    const { connectionId } = message.value.value
    return (bytes) => ({ kind, value: { kind: "Data", value: { connectionId, bytes } } })
  }
  return undefined
}
