import type { Plugins } from "../../host.ts"
import type { Link, LinkEnd } from "../../link.ts"
import type { Logger } from "../../log.ts"
import {
  type ClientMessage,
  type DaemonMessage,
  negotiate,
  protocolVersion,
  supports,
  targetEnded,
  unnegotiatedVersion,
} from "../../protocol/index.ts"
import type { Session } from "../../session.ts"
import { AgentConnection, type PodAgent } from "./agent-connection.ts"
import { Congestion } from "./congestion.ts"
import { IncomingTraffic } from "./incoming-traffic.ts"
import { PrimaryTraffic } from "./primary-traffic.ts"
import type { SessionAgents } from "./session-agents.ts"
import type { Subscription } from "./subscription.ts"

export interface RelayOptions {
  client: Link<ClientMessage, DaemonMessage>
  /** The session's first agent, already connected: the upgrade waited for it. */
  first: { agent: PodAgent; link: Link<DaemonMessage, ClientMessage> }
  session: Session
  agents: SessionAgents
  plugins: Plugins<"operator">
  lock(subscription: Subscription, extend?: boolean): Promise<boolean>
  unlock(subscription: Subscription): void
  /** A plugin refused something inside the session. */
  onDenied(what: string, denial: { plugin: string; reason: string }, subscription?: Subscription): void
  onSubscribed(subscription: Subscription): void
  onStolen(port: number, what: "connection" | "request"): void
  onLatency(milliseconds: number): void
  /** How long the target may be without a usable pod. */
  noPodMs: number
  log: Logger
}

/** Between attempts to find the next agent when nothing is heard of the pods, in milliseconds. */
const retryMs = 500

/** Between latency measurements, in milliseconds. */
const operatorPingMs = 30_000

/**
 * One client socket. It decodes what it must judge, answers what concerns the link itself (pings, versions), and passes the
 * rest on. Whoever is slow pauses whoever feeds it, and nobody else.
 */
export class Relay {
  readonly #options: RelayOptions
  readonly #congestion = new Congestion()
  readonly #abort = new AbortController()
  /** One for each pod, from the moment it is wanted. */
  readonly #connections = new Map<PodAgent, Promise<AgentConnection | undefined>>()
  /** Those that have had the subscriptions of their time. */
  readonly #joined = new WeakSet<AgentConnection>()
  /** Those that stand. */
  readonly #open = new Set<AgentConnection>()
  readonly #primary: PrimaryTraffic
  readonly #stopFollowing: () => void
  #version = unnegotiatedVersion
  #wantsLogs = false
  /** Agents of other pods are needed from the first subscription on. */
  #fannedOut = false
  #ping: { id: bigint; at: number } | undefined
  #pings: ReturnType<typeof setInterval> | undefined
  readonly incoming: IncomingTraffic
  /** Settles when the client's socket has ended, whatever the reason. */
  readonly ended: Promise<LinkEnd>

  constructor(options: RelayOptions) {
    this.#options = options
    const { client, first, plugins, session, agents } = options
    this.incoming = new IncomingTraffic({
      ...options,
      connections: () => this.#allConnections(),
      open: () => this.#open,
      toClient: (message) => this.#toClient(message),
      toAgent: (to, message) => this.#toAgent(to, message),
      authorize: (subscription) => this.#authorize(subscription),
      version: () => this.#version,
    })
    const connection = this.#adopt(first.agent, first.link)
    this.#connections.set(first.agent, Promise.resolve(connection))
    const primary = {
      plugins,
      session,
      version: () => this.#version,
      toClient: (message: DaemonMessage) => this.#toClient(message),
      toAgent: (to: AgentConnection, message: ClientMessage) => this.#toAgent(to, message),
      hold: (pending: { whenWritable(): Promise<void> }) => this.#congestion.hold(pending, client),
      onDenied: options.onDenied,
      fail: (why: string) => this.closeWith(why),
    }
    this.#primary = new PrimaryTraffic(primary, connection)
    this.#stopFollowing = agents.onChange(() => void this.#follow())
    this.ended = client.ended.then((end) => {
      this.#stop()
      return end
    })
    client.receive((message) => this.#fromClient(message))
  }

  /** Tells the client why, then ends its socket: a readable reason comes first, or the user only sees a broken frame. */
  closeWith(why: string): void {
    this.#options.client.send({ kind: "Close", value: why })
    this.#options.client.close()
  }

  /** Ends the socket without a reason. */
  drop(): void {
    this.#options.client.abort()
  }

  #fromClient(message: ClientMessage) {
    switch (message.kind) {
      case "Ping":
        return this.#toClient({ kind: "Pong" })
      case "Tcp":
      case "TcpSteal":
        return this.incoming.fromClient(message)
      case "SwitchProtocolVersion":
        return void this.#switchVersion(message.value)
      case "ReadyForLogs":
        return this.#readyForLogs()
      case "OperatorPong":
        return this.#pong(message.value)
      case "Close":
        return this.#options.client.close()
      case "PauseTargetRequest":
        return this.closeWith("Pausing the target is not supported")
      case "Vpn":
        return this.closeWith("VPN is not supported")
      case "ReverseDnsLookup":
      case "ShareLink":
        return this.closeWith(`A client may not send ${message.kind}`)
      default:
        this.#primary.fromClient(message)
    }
  }

  #fromAgent(message: DaemonMessage, from: AgentConnection) {
    switch (message.kind) {
      case "Tcp":
      case "TcpSteal":
        return this.incoming.fromAgent(message.kind, message.value, from)
      case "LogMessage": {
        const infoTooNew = message.value.level.kind === "Info" && !supports(this.#version, "infoLog")
        return this.#wantsLogs && !infoTooNew ? this.#toClient(message) : undefined
      }
      case "Close":
        this.#options.log.info("an agent closed", { pod: from.agent.pod?.name, reason: message.value })
        if (from === this.#primary.connection && message.value !== targetEnded) return this.closeWith(message.value)
        return from.link.close()
      case "Pong":
      case "OperatorPing":
      case "PauseTarget":
      case "Vpn":
      case "ReverseDnsLookup":
      case "SwitchProtocolVersionResponse":
        return
      default:
        if (from === this.#primary.connection) this.#primary.fromAgent(message)
    }
  }

  /** The agent's answer counts too: an older agent lowers what the client may use. */
  async #switchVersion(theirs: string): Promise<void> {
    const wanted = negotiate(theirs, protocolVersion)
    // Agents that are connected meanwhile are told this one.
    this.#version = wanted
    const answers = await Promise.all([...this.#open].map((connection) => connection.switchVersion(wanted)))
    this.#version = answers.reduce((lowest, answer) => negotiate(answer, lowest), wanted)
    this.#toClient({ kind: "SwitchProtocolVersionResponse", value: this.#version })
  }

  #readyForLogs(): void {
    this.#wantsLogs = true
    for (const connection of this.#open) this.#toAgent(connection, { kind: "ReadyForLogs" })
    if (this.#pings === undefined && supports(this.#version, "operatorPing")) {
      this.#pings = setInterval(() => this.#measure(), operatorPingMs)
      this.#measure()
    }
  }

  #measure(): void {
    this.#ping = { id: BigInt(Math.floor(Math.random() * Number.MAX_SAFE_INTEGER)), at: performance.now() }
    this.#toClient({ kind: "OperatorPing", value: this.#ping.id })
  }

  #pong(id: bigint): void {
    if (this.#ping?.id !== id) return
    this.#options.onLatency(performance.now() - this.#ping.at)
    this.#ping = undefined
  }

  async #authorize(subscription: Subscription) {
    const { session, plugins, agents, onDenied } = this.#options
    const { mode, port, filter } = subscription
    const request = { session, mode, port, filter, pods: agents.pods() }
    const verdict = await plugins.authorize("authorizeSubscription", request)
    if (verdict.allow) this.#options.onSubscribed(subscription)
    else onDenied(`${mode} port ${port}`, verdict, subscription)
    return verdict
  }

  // ---- agents

  #adopt(agent: PodAgent, link: Link<DaemonMessage, ClientMessage>): AgentConnection {
    const connection = new AgentConnection(agent, link, (message, from) => this.#fromAgent(message, from))
    this.#open.add(connection)
    void connection.ended.then(({ error }) => this.#lost(connection, error))
    return connection
  }

  #connect(agent: PodAgent): Promise<AgentConnection | undefined> {
    const known = this.#connections.get(agent)
    if (known) return known
    const connecting = agent.connect(this.#abort.signal).then(
      async (link) => {
        const connection = this.#adopt(agent, link)
        if (this.#version !== unnegotiatedVersion) await connection.switchVersion(this.#version)
        if (this.#wantsLogs) this.#toAgent(connection, { kind: "ReadyForLogs" })
        return connection.over ? undefined : connection
      },
      (error) => {
        this.#connections.delete(agent)
        if (!this.#abort.signal.aborted) this.#warn(`No agent for pod ${agent.pod?.name}`, error)
        return undefined
      },
    )
    this.#connections.set(agent, connecting)
    return connecting
  }

  async #allConnections(): Promise<readonly AgentConnection[]> {
    this.#fannedOut = true
    await Promise.all(this.#options.agents.all().map((agent) => this.#connect(agent)))
    for (const connection of this.#open) this.#joined.add(connection)
    return [...this.#open]
  }

  /** Pods came or went. */
  async #follow(): Promise<void> {
    if (!this.#fannedOut) return
    for (const agent of this.#options.agents.all()) {
      if (this.#connections.has(agent)) continue
      const connection = await this.#connect(agent)
      if (connection) await this.#join(connection)
    }
  }

  /** Gives an agent the subscriptions there are, once. */
  async #join(connection: AgentConnection): Promise<void> {
    if (this.#joined.has(connection)) return
    this.#joined.add(connection)
    await this.incoming.agentAdded(connection)
  }

  #lost(connection: AgentConnection, error: Error | undefined): void {
    this.#open.delete(connection)
    this.#connections.delete(connection.agent)
    if (this.#abort.signal.aborted) return
    this.incoming.agentLost(connection)
    if (connection !== this.#primary.connection) return
    this.#options.log.warn("the session's agent was lost", { pod: connection.agent.pod?.name, error })
    this.#primary.lost()
    void this.#replacePrimary(Date.now() + this.#options.noPodMs)
  }

  /** The next pod takes over; while there is none the client's requests wait. */
  async #replacePrimary(until: number): Promise<void> {
    const { agents } = this.#options
    // An agent ends with its target, and Kubernetes says so a moment later: asking at once would find the old pod.
    await this.#podsChanged(retryMs)
    while (!this.#abort.signal.aborted) {
      const agent = agents.primary()
      const connection = agent && (await this.#connect(agent))
      if (connection) {
        this.#options.log.info("another pod took over", { pod: agent.pod?.name })
        if (this.#fannedOut) await this.#join(connection)
        return this.#primary.resume(connection)
      }
      if (Date.now() >= until) return this.closeWith("The target has no pod that can be used any more")
      await this.#podsChanged(Math.min(retryMs, until - Date.now()))
    }
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

  #warn(message: string, error: unknown): void {
    this.#options.log.warn(message, { error })
    if (!this.#wantsLogs) return
    this.#toClient({ kind: "LogMessage", value: { message, level: { kind: "Warn" } } })
  }

  // ---- queues

  #toClient(message: DaemonMessage): void {
    const { client } = this.#options
    if (client.send(message)) return
    for (const connection of this.#open) this.#congestion.hold(client, connection.link)
  }

  #toAgent(to: AgentConnection, message: ClientMessage): void {
    if (!to.link.send(message)) this.#congestion.hold(to.link, this.#options.client)
  }

  #stop(): void {
    this.#abort.abort()
    clearInterval(this.#pings)
    this.#stopFollowing()
    this.incoming.close()
    for (const connection of this.#open) connection.link.close()
  }
}
