import type { ChunkedRequest, ChunkedResponse, DaemonTcp, LayerTcp, LayerTcpSteal } from "../../protocol/index.ts"

/*
 * Where connection ids stand in messages about incoming traffic. Renumbering copies the message's frame, never its payload.
 */

/** What an agent's message says about a connection; `SubscribeResult` is about none. */
export interface DaemonAbout {
  id: bigint
  /** It is the first about its connection. */
  opens: boolean
  /** It is the last about its connection. */
  closes: boolean
  withId(id: bigint): DaemonTcp
}

export function daemonAbout(message: Exclude<DaemonTcp, { kind: "SubscribeResult" }>): DaemonAbout {
  const about = (id: bigint, withId: (id: bigint) => DaemonTcp, opens = false, closes = false): DaemonAbout => ({
    id,
    opens,
    closes,
    withId,
  })
  switch (message.kind) {
    case "NewConnectionV1":
    case "HttpRequest":
    case "HttpRequestFramed": {
      const { value } = message
      return about(
        value.connectionId,
        (connectionId) => ({ ...message, value: { ...value, connectionId } }) as DaemonTcp,
        true,
      )
    }
    case "NewConnectionV2": {
      const { value } = message
      const withId = (connectionId: bigint): DaemonTcp => ({
        kind: "NewConnectionV2",
        value: { ...value, connection: { ...value.connection, connectionId } },
      })
      return about(value.connection.connectionId, withId, true)
    }
    case "HttpRequestChunked": {
      const { value: chunk } = message
      const opens = chunk.kind === "StartV1" || chunk.kind === "StartV2"
      const withId = (connectionId: bigint): DaemonTcp => ({
        kind: "HttpRequestChunked",
        value: { ...chunk, value: { ...chunk.value, connectionId } } as ChunkedRequest,
      })
      return about(chunk.value.connectionId, withId, opens)
    }
    default: {
      const { value } = message
      const withId = (connectionId: bigint) => ({ ...message, value: { ...value, connectionId } }) as DaemonTcp
      return about(value.connectionId, withId, false, message.kind === "Close")
    }
  }
}

/** What a client's message says about a connection; subscriptions are about none. */
export interface LayerAbout<M> {
  id: bigint
  closes: boolean
  withId(id: bigint): M
}

export function mirrorAbout(message: LayerTcp): LayerAbout<LayerTcp> | undefined {
  if (message.kind !== "ConnectionUnsubscribe") return undefined
  return { id: message.value, closes: true, withId: (value) => ({ kind: "ConnectionUnsubscribe", value }) }
}

export function stealAbout(message: LayerTcpSteal): LayerAbout<LayerTcpSteal> | undefined {
  switch (message.kind) {
    case "PortSubscribe":
    case "PortUnsubscribe":
      return undefined
    case "ConnectionUnsubscribe":
      return { id: message.value, closes: true, withId: (value) => ({ kind: "ConnectionUnsubscribe", value }) }
    case "HttpResponseChunked": {
      const { value: chunk } = message
      const withId = (connectionId: bigint): LayerTcpSteal => ({
        kind: "HttpResponseChunked",
        value: { ...chunk, value: { ...chunk.value, connectionId } } as ChunkedResponse,
      })
      return { id: chunk.value.connectionId, closes: false, withId }
    }
    default: {
      const { value } = message
      const withId = (connectionId: bigint) => ({ ...message, value: { ...value, connectionId } }) as LayerTcpSteal
      return { id: value.connectionId, closes: false, withId }
    }
  }
}
