import { AppError, errorText } from "../../core/errors.ts"
import type { Interceptor } from "../../core/interceptor.ts"
import type {
  ClientMessage,
  HttpFilter,
  LayerTcp,
  LayerTcpSteal,
  ShareLinkRequest,
  StealType,
} from "../../core/protocol/index.ts"
import type { AgentClient, AgentContext, AgentFeature, ClientFeature } from "../feature.ts"
import { ClientChannel } from "./client-channel.ts"
import { compileFilter } from "./filter/filter.ts"
import { LiveConnections } from "./live-connections.ts"
import type { Port } from "./port.ts"
import { Ports } from "./ports.ts"
import { connectionRouter } from "./router.ts"
import { type ClientKeys, LiveKeys } from "./share-link/live-keys.ts"

const gauges = {
  mirror: "mirrord_agent_mirror_port_subscription_count",
  filtered: "mirrord_agent_steal_filtered_port_subscription_count",
  unfiltered: "mirrord_agent_steal_unfiltered_port_subscription_count",
} as const
const copiedConnections = "mirrord_agent_mirror_connection_subscription_count"
type SubscriptionGauge = (typeof gauges)[keyof typeof gauges]

/** Mirrors and steals the target's incoming traffic. Only for an agent with a target. */
export function createIncoming(context: AgentContext, interceptor: Interceptor): AgentFeature {
  const live = new LiveConnections((by) => context.metrics.add("mirrord_agent_redirected_connections_count", by))
  const keys = new LiveKeys()
  const ports = new Ports(context, interceptor, connectionRouter(context, live, keys))
  return {
    kinds: ["Tcp", "TcpSteal", "ShareLink"],
    serve: (client) => new IncomingClient(client, ports, context, keys.ofClient()),
    targetEnded: () => live.letGo(),
    async close() {
      try {
        await ports.stopDiverting()
        await live.drain()
      } finally {
        await ports.close()
      }
    },
  }
}

class IncomingClient implements ClientFeature {
  readonly #client: AgentClient
  readonly #ports: Ports
  readonly #context: AgentContext
  readonly #shareLinks: ClientKeys
  readonly #steal: ClientChannel
  readonly #mirror: ClientChannel
  /** What this client holds, as the metrics count it. */
  readonly #held = new Map<`${"steal" | "mirror"} ${number}`, SubscriptionGauge>()

  constructor(client: AgentClient, ports: Ports, context: AgentContext, shareLinks: ClientKeys) {
    this.#shareLinks = shareLinks
    this.#client = client
    this.#ports = ports
    this.#context = context
    this.#steal = new ClientChannel(client, "TcpSteal")
    this.#mirror = new ClientChannel(client, "Tcp", (by) => context.metrics.add(copiedConnections, by))
  }

  handle(message: ClientMessage): void {
    if (message.kind === "TcpSteal") this.#handleSteal(message.value)
    else if (message.kind === "Tcp") this.#handleMirror(message.value)
    else if (message.kind === "ShareLink") this.#handleShareLink(message.value)
  }

  close(): void {
    for (const gauge of this.#held.values()) this.#context.metrics.add(gauge, -1)
    this.#shareLinks.close()
    this.#steal.close()
    this.#mirror.close()
    this.#ports.forget(this.#steal, this.#mirror).catch((thrown) => this.#context.fail(asError(thrown)))
  }

  /** Nobody waits for an answer. */
  #handleShareLink({ kind, value: key }: ShareLinkRequest): void {
    if (kind === "RemoveKey") this.#shareLinks.remove(key)
    else if (!this.#shareLinks.register(key))
      this.#client.log.warn("a share link's key is refused", { length: key.length })
  }

  #handleSteal(message: LayerTcpSteal): void {
    switch (message.kind) {
      case "PortSubscribe":
        this.#subscribeSteal(message.value)
        return
      case "PortUnsubscribe":
        this.#unsubscribe(message.value, this.#steal, (port) => port.stopStealing(this.#steal))
        return
      case "ConnectionUnsubscribe":
        this.#steal.stream(message.value)?.onClientGone()
        return
      case "Data":
        this.#steal.stream(message.value.connectionId)?.onClientData(message.value.bytes)
        return
      case "HttpResponse":
      case "HttpResponseFramed":
        this.#steal.stream(message.value.connectionId)?.onClientResponse(message)
        return
      case "HttpResponseChunked":
        this.#steal.stream(message.value.value.connectionId)?.onClientResponse(message)
    }
  }

  #handleMirror(message: LayerTcp): void {
    switch (message.kind) {
      case "PortSubscribe":
        this.#subscribeMirror(message.value, undefined)
        return
      case "PortSubscribeFilteredHttp":
        this.#subscribeMirror(message.value[0], message.value[1])
        return
      case "PortUnsubscribe":
        this.#unsubscribe(message.value, this.#mirror, (port) => port.stopMirroring(this.#mirror))
        return
      case "ConnectionUnsubscribe":
        this.#mirror.stream(message.value)?.onClientGone()
    }
  }

  #subscribeSteal(type: StealType): void {
    const [number, source] = stealRequest(type)
    const filter = source && this.#compile(source)
    if (filter === "refused") return
    this.#subscribe(number, this.#steal, (port) => {
      if (filter) port.stealMatching(this.#steal, filter, JSON.stringify(source))
      else port.stealAll(this.#steal)
      this.#hold(`steal ${number}`, filter ? gauges.filtered : gauges.unfiltered)
    })
  }

  #subscribeMirror(number: number, source: HttpFilter | undefined): void {
    const filter = source && this.#compile(source)
    if (filter === "refused") return
    this.#subscribe(number, this.#mirror, (port) => {
      port.mirror(this.#mirror, filter)
      this.#hold(`mirror ${number}`, gauges.mirror)
    })
  }

  #compile(source: HttpFilter) {
    try {
      return compileFilter(source)
    } catch (thrown) {
      // It may name a token.
      this.#client.refuse(`bad HTTP filter: ${errorText(thrown)}`, "bad HTTP filter")
      return "refused"
    }
  }

  #subscribe(number: number, channel: ClientChannel, enter: (port: Port) => void): void {
    this.#ports
      .subscribe(number, channel === this.#steal ? "take" : "look", (port) => {
        if (!this.#client.signal.aborted) enter(port)
      })
      .then(
        () => channel.send({ kind: "SubscribeResult", value: { kind: "Ok", value: number } }),
        (thrown) => this.#refuse(number, channel, thrown),
      )
  }

  /**
   * A taken port is an answer, in both modes: the program's `listen` fails and the session goes on. Anything else ends the session,
   * with the reason and what to do.
   */
  #refuse(number: number, channel: ClientChannel, thrown: unknown): void {
    const reason = thrown instanceof AppError && thrown.next ? `${thrown.message}. ${thrown.next}` : errorText(thrown)
    if (!(thrown instanceof AppError && thrown.code === "port-taken")) {
      this.#client.end(reason)
      return
    }
    this.#client.tell("Error", reason)
    channel.send({
      kind: "SubscribeResult",
      value: { kind: "Err", value: { kind: "PortAlreadyStolen", value: number } },
    })
  }

  #unsubscribe(number: number, channel: ClientChannel, leave: (port: Port) => void): void {
    this.#hold(`${channel === this.#steal ? "steal" : "mirror"} ${number}`, undefined)
    this.#ports.unsubscribe(number, leave).catch((thrown) => this.#context.fail(asError(thrown)))
  }

  #hold(what: `${"steal" | "mirror"} ${number}`, gauge: SubscriptionGauge | undefined): void {
    const before = this.#held.get(what)
    if (before) this.#context.metrics.add(before, -1)
    if (gauge) {
      this.#held.set(what, gauge)
      this.#context.metrics.add(gauge, 1)
    } else this.#held.delete(what)
  }
}

function stealRequest(type: StealType): [port: number, filter: HttpFilter | undefined] {
  if (type.kind === "All") return [type.value, undefined]
  if (type.kind === "FilteredHttp") return [type.value[0], { kind: "Header", value: type.value[1] }]
  return type.value
}

function asError(thrown: unknown): Error {
  return thrown instanceof Error ? thrown : new Error(errorText(thrown))
}
