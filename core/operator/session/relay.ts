import type { Denied, Plugins } from "../../host.ts"
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
import type { AgentConnection, PodAgent } from "./agent-connection.ts"
import { AgentLinks } from "./agent-links.ts"
import { Congestion } from "./congestion.ts"
import { IncomingTraffic } from "./incoming-traffic.ts"
import { LatencyProbe } from "./latency-probe.ts"
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
  onDenied(what: string, denial: Denied, subscription?: Subscription): void
  onSubscribed(subscription: Subscription): void
  onStolen(port: number, what: "connection" | "request"): void
  onLatency(milliseconds: number): void
  /** How long the target may be without a usable pod. */
  noPodMs: number
  log: Logger
}

/**
 * One client socket. It decodes what it must judge, answers what concerns the link itself (pings, versions), and passes the
 * rest on. Whoever is slow pauses whoever feeds it, and nobody else.
 */
export class Relay {
  readonly #options: RelayOptions
  readonly #congestion = new Congestion()
  readonly #agents: AgentLinks
  readonly #latency: LatencyProbe
  readonly #primary: PrimaryTraffic
  #version = unnegotiatedVersion
  #wantsLogs = false
  readonly incoming: IncomingTraffic
  /** Settles when the client's socket has ended, whatever the reason. */
  readonly ended: Promise<LinkEnd>

  constructor(options: RelayOptions) {
    this.#options = options
    const { client, first, plugins, session, agents } = options
    this.#agents = new AgentLinks({
      agents,
      onMessage: (message, from) => this.#fromAgent(message, from),
      greet: (connection) => this.#greet(connection),
      join: (connection) => this.incoming.agentAdded(connection),
      onLost: (connection, error) => void this.#lost(connection, error),
      onMissing: (agent, error) => this.#warn(`No agent for pod ${agent.pod?.name}`, error),
    })
    this.#latency = new LatencyProbe((message) => this.#toClient(message), options.onLatency)
    this.incoming = new IncomingTraffic({
      ...options,
      connections: () => this.#agents.all(),
      open: () => this.#agents.open,
      pods: () => agents.pods(),
      hold: (pending) => this.#congestion.hold(pending, client),
      toClient: (message) => this.#toClient(message),
      toAgent: (to, message) => this.#toAgent(to, message),
      authorize: (subscription) => this.#authorize(subscription),
      version: () => this.#version,
    })
    const connection = this.#agents.take(first.agent, first.link)
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
        return this.#latency.answered(message.value)
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
    const answers = await Promise.all([...this.#agents.open].map((connection) => connection.switchVersion(wanted)))
    this.#version = answers.reduce((lowest, answer) => negotiate(answer, lowest), wanted)
    this.#toClient({ kind: "SwitchProtocolVersionResponse", value: this.#version })
  }

  #readyForLogs(): void {
    this.#wantsLogs = true
    for (const connection of this.#agents.open) this.#toAgent(connection, { kind: "ReadyForLogs" })
    if (supports(this.#version, "operatorPing")) this.#latency.start()
  }

  async #authorize(subscription: Subscription) {
    const { session, plugins, agents, onDenied } = this.#options
    const { mode, port, filter } = subscription
    const request = { session, mode, port, filter, pods: agents.pods() }
    const verdict = await plugins.authorize("authorizeSubscription", request)
    if (!verdict.allow) onDenied(`${mode} port ${port}`, verdict, subscription)
    return verdict
  }

  // ---- agents

  async #greet(connection: AgentConnection): Promise<void> {
    if (this.#version !== unnegotiatedVersion) await connection.switchVersion(this.#version)
    if (this.#wantsLogs) this.#toAgent(connection, { kind: "ReadyForLogs" })
  }

  /** When it was the one that answers, the next pod takes over; while there is none the client's requests wait. */
  async #lost(connection: AgentConnection, error: Error | undefined): Promise<void> {
    const { log, noPodMs } = this.#options
    this.incoming.agentLost(connection)
    if (connection !== this.#primary.connection) return
    log.warn("the session's agent was lost", { pod: connection.agent.pod?.name, error })
    this.#primary.lost()
    const next = await this.#agents.next(noPodMs)
    if (!next) return this.closeWith("The target has no pod that can be used any more")
    log.info("another pod took over", { pod: next.agent.pod?.name })
    this.#primary.resume(next)
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
    for (const connection of this.#agents.open) this.#congestion.hold(client, connection.link)
  }

  #toAgent(to: AgentConnection, message: ClientMessage): void {
    if (!to.link.send(message)) this.#congestion.hold(to.link, this.#options.client)
  }

  #stop(): void {
    this.#latency.stop()
    this.incoming.close()
    this.#agents.stop()
  }
}
