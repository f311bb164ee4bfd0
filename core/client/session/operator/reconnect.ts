import { AppError } from "../../../errors.ts"
import { KubeError } from "../../../kube/errors.ts"
import type { AgentConnection } from "../../agent-session.ts"

/** Pauses before the attempts, in milliseconds: at once, then as mirrord's proxy does. */
export const reconnectPausesMs: readonly number[] = [0, 1_000, 2_000, 4_000, ...Array<number>(7).fill(8_000)]

export interface ReconnectParts {
  /** Asks for the session once more. */
  attempt(): Promise<AgentConnection>
  /** Resolves early when `signal` is aborted. */
  pause(ms: number): Promise<void>
  /** Aborted when nobody needs the session any more. */
  signal: AbortSignal
}

/**
 * Comes back to a session whose connection was lost. Any failure may pass (a replica that is replaced, an API server that
 * restarts), except the operator's word that the session is gone for good.
 * @throws AppError "session-gone", or what the last attempt failed with
 */
export async function reconnect({ attempt, pause, signal }: ReconnectParts): Promise<AgentConnection> {
  let failure: unknown
  for (const ms of reconnectPausesMs) {
    if (ms > 0) await pause(ms)
    signal.throwIfAborted()
    try {
      return await attempt()
    } catch (thrown) {
      if (isHopeless(thrown)) throw thrown
      failure = thrown
    }
  }
  throw failure
}

const hopeless: ReadonlySet<string> = new Set(["session-gone", "agent-closed", "target-ended"])
const isHopeless = (thrown: unknown) => thrown instanceof AppError && hopeless.has(thrown.code)

/** A refusal of the operator that no further attempt will change. */
export function sessionGone(thrown: unknown): AppError | undefined {
  if (!(thrown instanceof KubeError)) return undefined
  const { code, reason, message } = thrown.body
  if (code !== 410 || reason !== "ReconnectNotPossible") return undefined
  return new AppError("session-gone", message ?? "the operator has ended the session", {
    cause: thrown,
    next: "Start again for a new session.",
  })
}
