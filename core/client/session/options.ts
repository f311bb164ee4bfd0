import type { Config } from "../../../config/load.ts"
import type { Logger } from "../../log.ts"
import type { Step } from "../progress.ts"

/** What every way to a session is given. */
export interface SessionOptions {
  config: Config
  step: Step
  log: Logger
  signal: AbortSignal
  /** An agent that runs already: nothing is asked of Kubernetes. */
  agentAddress?: string
  /** The session key was given by the user. */
  keyProvided?: boolean
}
