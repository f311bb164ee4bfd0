import type { ResolvedPod } from "../../session.ts"
import type { PodAgent } from "./agent-connection.ts"

/** The agents of a session's target: shared by all its sockets, and following the target's pods. */
export interface SessionAgents {
  /** For environment, files, names and outgoing traffic. Undefined while no pod is usable. */
  primary(): PodAgent | undefined
  /** One for each usable pod, the primary among them. Stable objects: a pod keeps its agent. */
  all(): readonly PodAgent[]
  pods(): readonly ResolvedPod[]
  /** Called when `all` has changed. Returns the undo. */
  onChange(listener: () => void): () => void
  /** Begins to follow the target's pods. */
  follow(): Promise<void>
  close(): void
}
