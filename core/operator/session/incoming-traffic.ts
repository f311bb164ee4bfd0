import type { Verdict } from "../../host.ts"
import type { Logger } from "../../log.ts"
import type { ClientMessage, DaemonMessage, DaemonTcp, ResponseError } from "../../protocol/index.ts"
import type { ResolvedPod } from "../../session.ts"
import type { AgentConnection } from "./agent-connection.ts"
import { IncomingIds } from "./incoming-ids.ts"
import { daemonAbout, mirrorAbout, stealAbout } from "./incoming-messages.ts"
import {
  forbiddenSubscription,
  type Mode,
  mirrorSubscription,
  type Subscription,
  stealSubscription,
} from "./subscription.ts"

type SubscribeResult = { kind: "Ok"; value: number } | { kind: "Err"; value: ResponseError }
type IncomingMessage = Extract<ClientMessage, { kind: "Tcp" | "TcpSteal" }>

export interface IncomingTrafficOptions {
  /** All connections, those to the agents of all pods there are now among them; agents that cannot be had are left out and logged. */
  connections(): Promise<readonly AgentConnection[]>
  /** Those of them that stand at this moment. */
  open(): Iterable<AgentConnection>
  toClient(message: DaemonMessage): void
  /** Stop reading from the client until `pending` has room. */
  hold(pending: { whenWritable(): Promise<void> }): void
  toAgent(to: AgentConnection, message: ClientMessage): void
  /** Of the target, at this moment; the same objects as long as they live. */
  pods(): readonly ResolvedPod[]
  /** Judges a subscription of those pods. */
  authorize(subscription: Subscription): Promise<Verdict>
  /** False: another session has the port. `extend`: of pods that came later. */
  lock(subscription: Subscription, extend?: boolean): Promise<boolean>
  unlock(subscription: Subscription): void
  /** Agreed with the client. */
  version(): string
  /** The client has the port. */
  onSubscribed(subscription: Subscription): void
  /** A stolen connection or request begins. */
  onStolen(port: number, what: "connection" | "request"): void
  log: Logger
}

/** Subscriptions that wait for their turn, for one client; beyond it the client is not read. */
const maxWaiting = 256

/** Mirroring and stealing for one client socket: one subscription goes to the agents of all pods, one answer comes back. */
export class IncomingTraffic {
  readonly #options: IncomingTrafficOptions
  readonly #ids = { mirror: new IncomingIds<AgentConnection>(), steal: new IncomingIds<AgentConnection>() }
  readonly #awaited = { mirror: new Map<AgentConnection, Answer[]>(), steal: new Map<AgentConnection, Answer[]>() }
  readonly #active = new Map<string, Subscription>()
  /** Stolen ports that are this socket's, those that are being subscribed included. */
  readonly #needed = new Set<string>()
  /** Subscriptions run one after the other: clients match the answers by order. */
  #turn: Promise<void> = Promise.resolve()
  #waiting = 0
  /** What each agent was asked for, or must not be. */
  readonly #has = new WeakMap<AgentConnection, WeakSet<Subscription>>()
  /** The one that agents are being asked for. */
  #asking: Subscription | undefined
  #isOver = false

  constructor(options: IncomingTrafficOptions) {
    this.#options = options
  }

  fromClient(message: IncomingMessage): void {
    const subscription = message.kind === "Tcp" ? mirrorSubscription(message.value) : stealSubscription(message.value)
    if (subscription) {
      this.#inTurn(() => this.#subscribe(subscription))
      return
    }
    const mode = message.kind === "Tcp" ? "mirror" : "steal"
    if (message.value.kind === "PortUnsubscribe") {
      const port = message.value.value
      this.#inTurn(async () => this.#unsubscribe(mode, port))
      return
    }
    const about = message.kind === "Tcp" ? mirrorAbout(message.value) : stealAbout(message.value)
    const known = about && this.#ids[mode].forAgent(about.id)
    // A connection that is over: late data is dropped, as agents do.
    if (!about || !known) return
    if (about.closes) this.#ids[mode].forget(about.id)
    this.#options.toAgent(known.agent, { kind: message.kind, value: about.withId(known.id) } as ClientMessage)
  }

  fromAgent(kind: "Tcp" | "TcpSteal", message: DaemonTcp, from: AgentConnection): void {
    const mode: Mode = kind === "Tcp" ? "mirror" : "steal"
    if (message.kind === "SubscribeResult") {
      this.#awaited[mode].get(from)?.shift()?.(message.value)
      return
    }
    const about = daemonAbout(message)
    const ids = this.#ids[mode]
    const id = about.opens ? ids.announce(from, about.id) : ids.forClient(from, about.id)
    if (id === undefined) return
    if (about.closes) ids.forget(id)
    if (about.opens && mode === "steal") this.#countStolen(message)
    this.#options.toClient({ kind, value: about.withId(id) })
  }

  /**
   * An agent came after its pod did, or its pod is usable again: it gets what the others have and it has not, as far as that is
   * allowed of its pod.
   */
  async agentAdded(connection: AgentConnection): Promise<void> {
    const { log, lock, authorize, toAgent } = this.#options
    const asking = this.#asking ? [this.#asking] : []
    for (const subscription of [...this.#active.values(), ...asking]) {
      const { port, mode, request } = subscription
      const isWanted = () => this.#active.get(keyOf(mode, port)) === subscription || this.#asking === subscription
      const has = this.#hasOf(connection)
      if (!isWanted() || has.has(subscription) || !this.#isOurs(connection)) continue
      has.add(subscription)
      if (!(await authorize(subscription)).allow || !isWanted()) continue
      if (!(await lock(subscription, true))) {
        // The next time pods come or go it may be free.
        has.delete(subscription)
        if (isWanted())
          log.warn("a new pod's port is stolen by another session", { port, pod: connection.agent.pod?.name })
        continue
      }
      if (!isWanted()) continue
      const result = await this.#ask(connection, subscription)
      if (result.kind === "Err") log.warn("a new pod's agent refused a port", { port })
      else if (!this.needs(subscription) && !connection.over)
        toAgent(connection, { kind: request.kind, value: { kind: "PortUnsubscribe", value: port } })
    }
  }

  agentLost(connection: AgentConnection): void {
    for (const mode of ["mirror", "steal"] as const) {
      const kind = mode === "mirror" ? "Tcp" : "TcpSteal"
      for (const connectionId of this.#ids[mode].forgetAgent(connection)) {
        this.#options.toClient({ kind, value: { kind: "Close", value: { connectionId } } })
      }
      for (const answer of this.#awaited[mode].get(connection) ?? []) answer(lost)
      this.#awaited[mode].delete(connection)
    }
  }

  /** Is the port this socket's? */
  needs({ mode, port }: Subscription): boolean {
    return this.#needed.has(keyOf(mode, port))
  }

  /** Its lock was granted for this socket. */
  claim({ mode, port }: Subscription): void {
    this.#needed.add(keyOf(mode, port))
  }

  /** The port is another socket's now. Connections that are open stay; the client here is not told. */
  leave({ mode, port, request }: Subscription): void {
    if (!this.#needed.delete(keyOf(mode, port))) return
    this.#active.delete(keyOf(mode, port))
    this.#unsubscribeAgents(request.kind, port)
  }

  /** Gives the locks back; what is under way is given up. */
  close(): void {
    this.#isOver = true
    const active = [...this.#active.values()]
    this.#active.clear()
    this.#needed.clear()
    for (const subscription of active) this.#options.unlock(subscription)
    for (const awaited of Object.values(this.#awaited)) {
      for (const answers of awaited.values()) for (const answer of answers) answer(lost)
      awaited.clear()
    }
  }

  #unlock(subscription: Subscription): void {
    this.#needed.delete(keyOf(subscription.mode, subscription.port))
    this.#options.unlock(subscription)
  }

  async #subscribe(subscription: Subscription): Promise<void> {
    const { authorize, lock, version, connections, pods, toClient } = this.#options
    const answer = (value: SubscribeResult) =>
      toClient({ kind: subscription.request.kind, value: { kind: "SubscribeResult", value } })
    const key = keyOf(subscription.mode, subscription.port)
    if (this.#isOver) return
    const judged = pods()
    const verdict = await authorize(subscription)
    // Nobody is overridden for a client that has left.
    if (this.#isOver) return
    if (!verdict.allow) return answer({ kind: "Err", value: forbiddenSubscription(subscription, verdict, version()) })
    this.#needed.add(key)
    const isGranted = await lock(subscription)
    if (this.#isOver) return this.#unlock(subscription)
    if (!isGranted) {
      // Perhaps it was, and nobody could tell.
      if (!this.#active.has(key)) this.#unlock(subscription)
      return answer({ kind: "Err", value: { kind: "PortAlreadyStolen", value: subscription.port } })
    }
    const there = await connections()
    if (this.#isOver) return this.#unlock(subscription)
    // Pods that have come meanwhile nobody has judged, nor are they locked.
    const those = there.filter((one) => isAmong(judged, one))
    if (those.length === 0 && there.some((one) => this.#isOurs(one))) return this.#subscribe(subscription)
    this.#asking = subscription
    const results = await Promise.all(those.map((one) => this.#ask(one, subscription)))
    this.#asking = undefined
    if (this.#isOver) return this.#unlock(subscription)
    if (!this.#needed.has(key)) {
      // Another socket of the session was quicker to ask again. To this client the port is subscribed, as it is to any that left.
      this.#unsubscribeAgents(subscription.request.kind, subscription.port)
      return answer({ kind: "Ok", value: subscription.port })
    }
    if (results.some((result) => result.kind === "Ok")) {
      this.#active.set(key, subscription)
      this.#options.onSubscribed(subscription)
      for (const one of there) void this.agentAdded(one)
      return answer({ kind: "Ok", value: subscription.port })
    }
    this.#unlock(subscription)
    // One that came meanwhile may have it.
    this.#unsubscribeAgents(subscription.request.kind, subscription.port)
    const reason = { plugin: "operator", reason: "no agent of the target could be reached" }
    answer({ kind: "Err", value: tellable(results) ?? forbiddenSubscription(subscription, reason, version()) })
  }

  #unsubscribe(mode: Mode, port: number): void {
    const subscription = this.#active.get(keyOf(mode, port))
    if (!subscription) return
    this.#active.delete(keyOf(mode, port))
    this.#unlock(subscription)
    this.#unsubscribeAgents(subscription.request.kind, port)
  }

  #unsubscribeAgents(kind: IncomingMessage["kind"], port: number): void {
    for (const connection of this.#options.open()) {
      this.#options.toAgent(connection, { kind, value: { kind: "PortUnsubscribe", value: port } })
    }
  }

  #isOurs(connection: AgentConnection): boolean {
    return isAmong(this.#options.pods(), connection)
  }

  #hasOf(connection: AgentConnection): WeakSet<Subscription> {
    const has = this.#has.get(connection) ?? new WeakSet()
    this.#has.set(connection, has)
    return has
  }

  #ask(connection: AgentConnection, subscription: Subscription): Promise<SubscribeResult> {
    if (connection.over) return Promise.resolve(lost)
    const { mode, request } = subscription
    this.#hasOf(connection).add(subscription)
    const { promise, resolve } = Promise.withResolvers<SubscribeResult>()
    const waiting = this.#awaited[mode].get(connection) ?? []
    this.#awaited[mode].set(connection, waiting)
    waiting.push(resolve)
    this.#options.toAgent(connection, request)
    return promise
  }

  #inTurn(act: () => Promise<void>): void {
    this.#waiting++
    const turn = this.#turn
      .then(act)
      .catch((error) => this.#options.log.error("a subscription failed", { error }))
      .finally(() => void this.#waiting--)
    this.#turn = turn
    if (this.#waiting >= maxWaiting) this.#options.hold({ whenWritable: () => turn })
  }

  #countStolen(message: DaemonTcp): void {
    if (message.kind === "NewConnectionV1") this.#options.onStolen(message.value.destinationPort, "connection")
    else if (message.kind === "NewConnectionV2") {
      this.#options.onStolen(message.value.connection.destinationPort, "connection")
    } else if (message.kind === "HttpRequestChunked" && message.value.kind === "StartV2") {
      this.#options.onStolen(message.value.value.metadata.value.destination.port, "request")
    } else if (message.kind === "HttpRequest" || message.kind === "HttpRequestFramed") {
      this.#options.onStolen(message.value.port, "request")
    }
  }
}

type Answer = (result: SubscribeResult) => void

const lost: SubscribeResult = { kind: "Err", value: { kind: "NotImplemented" } }

/** Without a target there are no pods. */
const isAmong = (pods: readonly ResolvedPod[], { agent: { pod } }: AgentConnection) => !pod || pods.includes(pod)

const keyOf = (mode: Mode, port: number) => `${mode} ${port}`

/** Clients understand only these; anything else would end their session with a riddle. */
function tellable(results: readonly SubscribeResult[]): ResponseError | undefined {
  const known = ["PortAlreadyStolen", "Forbidden", "ForbiddenWithReason"]
  for (const result of results) if (result.kind === "Err" && known.includes(result.value.kind)) return result.value
  return undefined
}
