import type { Link } from "../../link.ts"
import type { ClientMessage, DaemonMessage } from "../../protocol/index.ts"
import { AgentConnection, type PodAgent } from "./agent-connection.ts"
import type { SessionAgents } from "./session-agents.ts"

export interface AgentLinksOptions {
  agents: SessionAgents
  onMessage(message: DaemonMessage, from: AgentConnection): void
  /** Says to a new connection what every one is told. */
  greet(connection: AgentConnection): Promise<void>
  /** Gives a connection what the others have and it has not. */
  join(connection: AgentConnection): Promise<void>
  onLost(connection: AgentConnection, error: Error | undefined): void
  /** An agent that cannot be had; it is tried again when it is wanted again. */
  onMissing(agent: PodAgent, error: unknown): void
}

/** Between attempts to find the next agent when nothing is heard of the pods, in milliseconds. */
const retryMs = 500

/** The connections of one client socket to the agents of its target's pods: one at first, all from the first subscription on. */
export class AgentLinks {
  readonly #options: AgentLinksOptions
  readonly #over = new AbortController()
  /** One for each pod, from the moment it is wanted. */
  readonly #connections = new Map<PodAgent, Promise<AgentConnection | undefined>>()
  readonly #open = new Set<AgentConnection>()
  readonly #stopFollowing: () => void
  #fannedOut = false

  constructor(options: AgentLinksOptions) {
    this.#options = options
    this.#stopFollowing = options.agents.onChange(() => void this.#follow())
  }

  /** Those that stand. */
  get open(): ReadonlySet<AgentConnection> {
    return this.#open
  }

  /** Takes over a connection that was made before. */
  take(agent: PodAgent, link: Link<DaemonMessage, ClientMessage>): AgentConnection {
    const connection = this.#adopt(agent, link)
    this.#connections.set(agent, Promise.resolve(connection))
    return connection
  }

  /** Connections to the agents of all pods there are now; pods that come later are joined. */
  async all(): Promise<readonly AgentConnection[]> {
    this.#fannedOut = true
    await Promise.all(this.#options.agents.all().map((agent) => this.#connect(agent)))
    return [...this.#open]
  }

  /** The next agent for what one agent answers; undefined when there is none for so long. */
  async next(noPodMs: number): Promise<AgentConnection | undefined> {
    const until = Date.now() + noPodMs
    // An agent ends with its target, and Kubernetes says so a moment later: asking at once would find the old pod.
    await this.#podsChanged(retryMs)
    while (!this.#over.signal.aborted) {
      const agent = this.#options.agents.primary()
      const connection = agent && (await this.#connect(agent))
      if (connection && this.#fannedOut) await this.#options.join(connection)
      // That takes a while, in which it may be lost as the one before.
      if (connection && !connection.over) return connection
      if (Date.now() >= until) return undefined
      await this.#podsChanged(Math.min(retryMs, until - Date.now()))
    }
    return undefined
  }

  stop(): void {
    this.#over.abort()
    this.#stopFollowing()
    for (const connection of this.#open) connection.link.close()
  }

  #adopt(agent: PodAgent, link: Link<DaemonMessage, ClientMessage>): AgentConnection {
    const connection = new AgentConnection(agent, link, this.#options.onMessage)
    this.#open.add(connection)
    void connection.ended.then(({ error }) => {
      this.#open.delete(connection)
      this.#connections.delete(agent)
      if (!this.#over.signal.aborted) this.#options.onLost(connection, error)
    })
    return connection
  }

  #connect(agent: PodAgent): Promise<AgentConnection | undefined> {
    const known = this.#connections.get(agent)
    if (known) return known
    const connecting = agent.connect(this.#over.signal).then(
      async (link) => {
        if (this.#over.signal.aborted) {
          link.abort()
          return undefined
        }
        const connection = this.#adopt(agent, link)
        await this.#options.greet(connection)
        return connection.over ? undefined : connection
      },
      (error) => {
        this.#connections.delete(agent)
        if (!this.#over.signal.aborted) this.#options.onMissing(agent, error)
        return undefined
      },
    )
    this.#connections.set(agent, connecting)
    return connecting
  }

  /** Pods came or went, or are usable again. */
  async #follow(): Promise<void> {
    if (!this.#fannedOut) return
    const join = async (agent: PodAgent) => {
      const connection = await this.#connect(agent)
      if (connection) await this.#options.join(connection)
    }
    await Promise.all(this.#options.agents.all().map(join))
  }

  /** A change of the target's pods, or the time. */
  #podsChanged(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const done = () => {
        clearTimeout(timer)
        stop()
        resolve()
      }
      const stop = this.#options.agents.onChange(done)
      const timer = setTimeout(done, ms)
    })
  }
}
