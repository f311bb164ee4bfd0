import type { Link } from "../core/link.ts"
import type { Logger } from "../core/log.ts"
import type { ClientMessage, DaemonMessage } from "../core/protocol/index.ts"
import { ClientConnection } from "./client-connection.ts"
import type { AgentFeature } from "./feature.ts"
import type { AgentMetrics } from "./metrics.ts"

/** Connections at once; a client has one or two, an operator one for each session that shares the agent. */
export const maxConnections = 8192

/** Connections that wait for their client to move to them. */
const maxCarriers = 64

/** Somebody who has connected. */
export interface Visitor {
  /** This is the connection for the client that will say `token`. False when there are too many such. */
  carries(token: string): boolean
}

interface ClientsOptions {
  features: readonly AgentFeature[]
  metrics: AgentMetrics
  log: Logger
  /** Nobody sent a message within this time of the start. */
  firstClientSeconds: number
  /** How long the agent outlives its last client. */
  idleSeconds: number
  onNoClient(): void
  onFirstClient(): void
  onIdle(): void
}

/**
 * The clients of an agent. Somebody who connects counts as a client from the first message on, so that a port scan
 * neither ends an agent that still waits for its client nor keeps one alive.
 */
export class Clients {
  readonly #options: ClientsOptions
  readonly #connections = new Set<ClientConnection>()
  /** Those of them that have not said anything yet, in the order they came. */
  readonly #silent = new Set<ClientConnection>()
  /** Those of them that are meant for another client, by its token. */
  readonly #carriers = new Map<string, ClientConnection>()
  #nextId = 0
  #anybodyCame = false
  #timer: ReturnType<typeof setTimeout> | undefined

  constructor(options: ClientsOptions) {
    this.#options = options
    this.#timer = setTimeout(() => options.onNoClient(), options.firstClientSeconds * 1000)
  }

  add(link: Link<ClientMessage, DaemonMessage>): Visitor | undefined {
    const { features, metrics, log } = this.#options
    if (this.#connections.size >= maxConnections && !this.#giveUpSilentOne()) {
      const reason = `This agent serves ${maxConnections} connections already. End some of its sessions, or start another agent.`
      log.warn("client refused", { reason })
      link.send({ kind: "Close", value: reason })
      link.close()
      return undefined
    }
    const id = this.#nextId++
    const spoke = () => {
      this.#silent.delete(client)
      this.#onFirstMessage()
    }
    const takeCarrier = (token: string) => this.#carriers.get(token)?.release()
    const client = new ClientConnection(id, link, features, log.child({ client: id }), spoke, takeCarrier)
    this.#connections.add(client)
    this.#silent.add(client)
    metrics.add("mirrord_agent_client_count", 1)
    void client.ended.then(() => {
      this.#connections.delete(client)
      this.#silent.delete(client)
      metrics.add("mirrord_agent_client_count", -1)
      this.#waitWhenIdle()
    })
    return { carries: (token) => this.#carries(client, token) }
  }

  #carries(client: ClientConnection, token: string): boolean {
    if (this.#carriers.size >= maxCarriers || this.#carriers.has(token)) return false
    this.#carriers.set(token, client)
    client.awaitClient()
    void client.ended.then(() => this.#carriers.delete(token))
    return true
  }

  /** Tells everybody why, and ends when they are gone. */
  async endAll(reason: string): Promise<void> {
    clearTimeout(this.#timer)
    this.#timer = undefined
    this.#anybodyCame = false
    const all = [...this.#connections]
    for (const client of all) {
      if (client.hasSpoken) client.end(reason)
      else client.abort()
    }
    await Promise.all(all.map((client) => client.ended))
  }

  /** Whoever only connects must not keep clients out. */
  #giveUpSilentOne(): boolean {
    const [oldest] = this.#silent
    if (!oldest) return false
    this.#silent.delete(oldest)
    this.#connections.delete(oldest)
    oldest.abort()
    return true
  }

  #onFirstMessage(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    if (!this.#anybodyCame) this.#options.onFirstClient()
    this.#anybodyCame = true
  }

  #waitWhenIdle(): void {
    const isServing = this.#connections.size > this.#silent.size
    if (isServing || !this.#anybodyCame || this.#timer) return
    this.#timer = setTimeout(() => this.#options.onIdle(), this.#options.idleSeconds * 1000)
  }
}
