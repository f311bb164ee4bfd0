import type { Logger } from "../core/log.ts"
import type { ClientMessage, DaemonMessage, ProtocolFeature } from "../core/protocol/index.ts"
import type { AgentMetrics } from "./metrics.ts"
import type { AgentSettings } from "./settings.ts"
import type { AgentTarget, Surroundings } from "./target/target.ts"

/*
 * How a part of the agent plugs in. `entry.ts` makes every feature once (`createIncoming(context)`), asks it for a
 * `ClientFeature` for each client connection, and hands that the client's messages of the kinds it named, one after
 * the other. The traffic of one client never reaches another client's object.
 */

/** What every feature gets when the agent starts. */
export interface AgentContext {
  /** Undefined when targetless: then there is nothing to steal from. */
  target: AgentTarget | undefined
  /** Where files are read and sockets are made: the target, or the agent's own place when targetless. */
  surroundings: Surroundings
  settings: AgentSettings
  metrics: AgentMetrics
  log: Logger
  /** Aborted when the agent stops. */
  signal: AbortSignal
  /** Ends the whole agent with exit code 1; every client gets `Close` with the error's message. */
  fail(error: Error): void
}

export interface AgentFeature {
  /** Kinds of client messages this feature wants; no two features name the same. */
  readonly kinds: readonly ClientMessage["kind"][]
  /** Called with the client's first message of these kinds. */
  serve(client: AgentClient): ClientFeature
  /** The target has just ended; `close` follows soon. What its peers have to hear has to be said now: its network goes next. */
  targetEnded?(): void
  /** After the last client has left or the agent stops; undoes everything outside this process. */
  close?(): Promise<void>
}

export interface ClientFeature {
  /**
   * Must return soon; what takes long goes on afterwards. A throw ends this client (and only it) with
   * `Close(<message>)`. Answer with `client.send`.
   */
  handle(message: ClientMessage): void
  /** The client is gone; also called when the agent stops. Called once. */
  close(): void
}

/** One client connection. Messages sent after its end are dropped. */
export interface AgentClient {
  /** Counts from 0 for the agent. */
  readonly id: number
  readonly log: Logger
  /** Aborted when the client is gone. */
  readonly signal: AbortSignal
  /** May this client be sent (or use) something of the protocol? Before it negotiates it counts as 1.2.2. */
  supports(feature: ProtocolFeature): boolean
  /** As `Link.send`: false means wait for `whenWritable` before producing more. */
  send(message: DaemonMessage): boolean
  whenWritable(): Promise<void>
  /**
   * Stops reading from this client until the returned function is called (once; later calls do nothing). For a
   * feature whose queue towards a slow third party is full. Pings wait meanwhile, so let it end within seconds.
   */
  holdInput(): () => void
  /** A line for the user, if this client wants log lines (and is new enough for `Info`). */
  tell(level: "Warn" | "Error" | "Info", message: string): void
  /**
   * Sends `Close(reason)` and goes on serving, as mirrord's agent does for requests it cannot ever fulfil. `inLog` stands in the log where
   * the reason quotes what nobody else should read.
   */
  refuse(reason: string, inLog?: string): void
  /** Sends `Close(reason)` and ends the connection. */
  end(reason: string): void
}
