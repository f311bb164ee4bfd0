import { AppError, errorText } from "../../errors.ts"
import { askingSide, connectLink } from "../../link/index.ts"
import type { Link } from "../../link.ts"
import type { ClientMessage, DaemonMessage } from "../../protocol/index.ts"
import type { KeyPair } from "../credentials/operator-keys.ts"

export interface DialOptions {
  hostname: string
  port: number
  /** The operator is the TLS server although it dials; undefined for plain TCP. */
  identity: KeyPair | undefined
  /** How long a refused connection is tried again: an agent listens a moment after its container runs. */
  patienceMs: number
  signal: AbortSignal
}

export type AgentLink = Link<DaemonMessage, ClientMessage>

const firstPauseMs = 10
const longestPauseMs = 250
/** One TCP connect and one handshake. */
const attemptMs = 5_000

/** @throws AppError "agent-not-started" */
export async function dialAgent(options: DialOptions): Promise<AgentLink> {
  const until = Date.now() + options.patienceMs
  for (let pauseMs = firstPauseMs; ; pauseMs = Math.min(pauseMs * 2, longestPauseMs)) {
    try {
      return await attempt(options)
    } catch (cause) {
      if (options.signal.aborted) throw options.signal.reason
      if (Date.now() + pauseMs > until) {
        throw new AppError("agent-not-started", `The agent does not answer: ${errorText(cause)}`, {
          cause,
          next: "Check that network policies let the operator reach its agents.",
        })
      }
      await Bun.sleep(pauseMs)
    }
  }
}

/** Ended by `signal` or the clock, whichever is first; neither is looked at once there is a link. */
async function attempt({ hostname, port, identity, signal }: DialOptions): Promise<AgentLink> {
  const ending = new AbortController()
  const leave = () => ending.abort(signal.reason)
  const timer = setTimeout(() => ending.abort(new Error("no answer in time")), attemptMs)
  signal.addEventListener("abort", leave)
  try {
    signal.throwIfAborted()
    const tls = identity && { asServer: identity }
    return await connectLink(askingSide, { hostname, port }, { ...(tls && { tls }), signal: ending.signal })
  } finally {
    clearTimeout(timer)
    signal.removeEventListener("abort", leave)
  }
}
