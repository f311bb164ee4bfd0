import type { AgentPlace } from "./agent-object.ts"
import { type AgentSource, notStarted, type StealTlsSource } from "./agent-source.ts"
import { type AgentLink, type DialOptions, dialAgent } from "./dial.ts"

/** Agents asked for before giving up; more than one ends in the moment it is dialled only where agents do not stay. */
const maxAgents = 3

export interface ConnectAgentOptions extends Pick<DialOptions, "identity" | "patienceMs" | "signal"> {
  source: AgentSource
  place: AgentPlace
  stealTls: StealTlsSource
}

/**
 * A connection to the agent of a place. An agent that nobody has used for long may end in the moment somebody comes: its
 * address answers no more, and the next one is asked for as soon as Kubernetes says so. @throws AppError "agent-not-started"
 */
export async function connectAgent({
  source,
  place,
  stealTls,
  signal,
  ...dial
}: ConnectAgentOptions): Promise<AgentLink> {
  for (let agents = 0; agents < maxAgents; agents++) {
    const { hostname, port, onEnd } = await source.obtain(place, signal, stealTls)
    const ended = new AbortController()
    const stop = onEnd(() => ended.abort())
    try {
      return await dialAgent({ ...dial, hostname, port, signal: AbortSignal.any([signal, ended.signal]) })
    } catch (thrown) {
      if (signal.aborted || !ended.signal.aborted) throw thrown
    } finally {
      stop()
    }
  }
  throw notStarted(`${maxAgents} agents ended before they could be used`)
}
