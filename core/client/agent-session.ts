import type { AppError } from "../errors.ts"
import type { Link } from "../link.ts"
import type { ClientMessage, DaemonMessage } from "../protocol/index.ts"

/** A connection to an agent, paused, with the version agreed. */
export interface AgentConnection {
  link: Link<DaemonMessage, ClientMessage>
  /** Agreed protocol version, e.g. "1.29.0". */
  protocolVersion: string
}

/** A way to an agent: created directly, through an operator, or one that was already running. */
export interface AgentSession extends AgentConnection {
  /** Who is at the other end, for progress and error texts, e.g. `agent podside-agent-x7k (default)` or `operator 0.1.0`. */
  peer: string
  /** Resolves when the way to the agent will not change any more by itself, for whoever measures it. */
  settled?: Promise<void>
  /** What is known of the target's pod, where it may be read. */
  pod?: PodFacts
  /**
   * Connects to the same session again after its link was lost; absent where a loss is the end. Tries for as long as there
   * is hope. @throws AppError that says why there is none
   */
  reconnect?(signal: AbortSignal): Promise<AgentConnection>
  /** Says more of why a connection was cut, within a few seconds. Never rejects. */
  explainLoss?(error: AppError): Promise<AppError>
  /** Ends the link and removes whatever was created for it; safe to call twice. */
  close(): Promise<void>
}

/** What of a pod decides about the features of a session. */
export interface PodFacts {
  /** Where volumes are mounted in the target's container: such files are the pod's, whatever lists say. */
  mounts: readonly Mount[]
  /** Ports Kubernetes asks by HTTP or gRPC whether the pod is well. */
  probedPorts: readonly number[]
}

export interface Mount {
  path: string
  /** One file or folder of a volume, not the whole. */
  isPart: boolean
}
