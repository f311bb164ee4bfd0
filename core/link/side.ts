import {
  type ClientMessage,
  clientMessage,
  type DaemonMessage,
  type Divide,
  daemonMessage,
  defaultLimits,
  divideClientMessage,
  divideDaemonMessage,
  type Limits,
  type MessageCodec,
} from "../protocol/index.ts"

/** What one end of a link reads and writes. */
export interface Side<In, Out> {
  incoming: MessageCodec<In>
  outgoing: MessageCodec<Out>
  /** How to take large parts of byte streams piece by piece; without it messages come as they were sent. */
  divide?: Divide<In>
}

/** The end that serves: an agent, or an operator towards its clients. */
export const servingSide: Side<ClientMessage, DaemonMessage> = {
  incoming: clientMessage,
  outgoing: daemonMessage,
  divide: divideClientMessage,
}

/** The end that asks: a client, or an operator towards an agent. */
export const askingSide: Side<DaemonMessage, ClientMessage> = {
  incoming: daemonMessage,
  outgoing: clientMessage,
  divide: divideDaemonMessage,
}

export interface LinkLimits {
  /** `send` says false from this many queued bytes on, and `whenWritable` waits until there are fewer. */
  highWaterBytes: number
  /** A link whose sender goes on regardless ends with "link-overflow" at this many queued bytes. */
  maxQueuedBytes: number
  /** After `close`: how long the peer may take no byte, and after the last byte how long it may stay, in milliseconds. */
  lingerMs: number
  /** What a message of the peer may cost. */
  message: Limits
}

export const defaultLinkLimits: LinkLimits = {
  highWaterBytes: 1024 * 1024,
  maxQueuedBytes: 256 * 1024 * 1024,
  lingerMs: 5000,
  message: defaultLimits,
}
