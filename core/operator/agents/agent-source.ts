import { AppError } from "../../errors.ts"
import type { AgentPlace } from "./agent-object.ts"

export interface RunningAgent {
  name: string
  hostname: string
  port: number
  /** Calls `listener`, perhaps at once, when the agent is seen to have ended. Returns the undo. */
  onEnd(listener: () => void): () => void
}

/** What an agent that has to be made is told about TLS, asked only then: `StealTls.agentConfig`. */
export type StealTlsSource = () => Promise<string | undefined>

/** Where a session gets the agents of its target from. */
export interface AgentSource {
  /** The running agent of a place, made when there is none. @throws AppError "agent-not-started" with what Kubernetes says */
  obtain(place: AgentPlace, signal: AbortSignal, stealTls: StealTlsSource): Promise<RunningAgent>
}

export function notStarted(why: string, cause?: unknown): AppError {
  return new AppError("agent-not-started", `The agent did not start: ${why}`, {
    cause,
    next: "Whoever runs the cluster finds more in the operator's log and the agent pod's events.",
  })
}
