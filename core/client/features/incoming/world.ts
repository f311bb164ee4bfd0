import { AppError } from "../../../errors.ts"
import type { Endpoint } from "../../../interceptor.ts"
import { lastWords } from "../../../last-words.ts"
import type { DaemonTcp, NewTcpConnection, TrafficTransport } from "../../../protocol/index.ts"
import type { Conversation } from "../../conversation.ts"
import { ErrnoError, type IncomingPeer, type IncomingWorld } from "../../engine.ts"
import { InputBudget } from "../input-budget.ts"
import { isDebuggerHost, isLoopback } from "../outgoing/world.ts"
import { errno } from "../response-errno.ts"
import type { ExchangeEvents, ExchangeRequest } from "./exchange.ts"
import { requireFilterSupport } from "./http-filter.ts"
import { Http1Exchange } from "./http1-exchange.ts"
import { Http1Pool } from "./http1-pool.ts"
import { Http2Exchange } from "./http2-exchange.ts"
import type { IncomingOptions } from "./options.ts"
import { Peers } from "./peers.ts"
import { RawDelivery } from "./raw-delivery.ts"
import type { Place } from "./reach.ts"
import { type IncomingRequest, RequestDelivery, requestStart, unknownOrigin } from "./request-delivery.ts"
import { Subscriptions } from "./subscriptions.ts"
import { deliveryTls } from "./tls.ts"

export interface IncomingParts {
  world: IncomingWorld
  /** Takes a port of the pod without a program that listens: `port-forward`. @throws AppError "port-stolen" */
  subscribe(remotePort: number, to: Endpoint): Promise<void>
  /** Does the program listen on this port, as it asked for it or as the kernel chose it? */
  listensOn(port: number): boolean
}

/** The pod's incoming traffic, for the program's listeners. @throws AppError "filter-unsupported" */
export function createIncomingWorld(conversation: Conversation, options: IncomingOptions): IncomingParts {
  if (options.filter) requireFilterSupport(options.filter, (feature) => conversation.supports(feature))
  const traffic = new Traffic(conversation, options)
  const remotePort = (port: number) => options.portMapping.get(port) ?? port
  /** Ports the program asked for, with how many listeners each has. */
  const requested = new Map<number, number>()
  const chosen = new Set<number>()
  const isIgnored = ({ ip, port }: Endpoint) =>
    port === 0 || (options.ignoreLocalhost && isLoopback(ip) && ip !== "::" && ip !== "0.0.0.0")
  let isTold = false
  const tellNothingComes = (port: number) => {
    const level = options.wanted === "steal" ? "warn" : "info"
    if (!isTold)
      conversation.notice(`Without a target nothing comes in: port ${port} is reached on this machine alone`, level)
    isTold = true
  }
  const world: IncomingWorld = {
    isOff: options.mode === "off",
    wants({ ip, port }) {
      if (options.mode === "off" || options.ignorePorts.includes(port)) return false
      if (isDebuggerHost(ip) && options.debuggerPorts?.has(port)) return false
      return options.ports?.includes(remotePort(port)) ?? true
    },
    listenPort: (port) => options.listenPorts.get(port),
    async listening(listener) {
      requested.set(listener.requested.port, (requested.get(listener.requested.port) ?? 0) + 1)
      if (isIgnored(listener.requested)) return
      const port = remotePort(listener.requested.port)
      try {
        await traffic.subscriptions.add(port, reachable(listener.local))
      } catch (thrown) {
        // The program only hears that its address is in use, and nothing here uses it.
        if (isTaken(thrown)) conversation.notice(`${taken(port)}: the program cannot listen on it`, "warn")
        throw thrown
      }
    },
    chosen(port, isOpen) {
      if (isOpen && options.wanted !== undefined) tellNothingComes(port)
      if (isOpen) chosen.add(port)
      else chosen.delete(port)
    },
    closed(listener) {
      const left = (requested.get(listener.requested.port) ?? 1) - 1
      if (left > 0) requested.set(listener.requested.port, left)
      else requested.delete(listener.requested.port)
      if (!isIgnored(listener.requested)) {
        traffic.subscriptions.remove(remotePort(listener.requested.port), reachable(listener.local))
      }
    },
    peerOf: (localSource) => traffic.peers.peerOf(localSource),
    lastWords: () => traffic.lastWords(),
  }
  return {
    world,
    async subscribe(port, to) {
      try {
        await traffic.subscriptions.add(port, to)
      } catch (thrown) {
        if (!isTaken(thrown)) throw thrown
        throw new AppError("port-stolen", taken(port), {
          cause: thrown,
          next: "Take another port, or try again when that session has ended.",
        })
      }
    },
    listensOn: (port) => requested.has(port) || chosen.has(port),
  }
}

const isTaken = (thrown: unknown) => thrown instanceof ErrnoError && thrown.errno === errno.EADDRINUSE
const taken = (port: number) => `Another session has port ${port} of the target`

/** A listener on every address is reached by its loopback one. */
function reachable({ ip, port }: Endpoint): Endpoint {
  if (ip === "0.0.0.0") return { ip: "127.0.0.1", port }
  return ip === "::" ? { ip: "::1", port } : { ip, port }
}

/** By the agent's connection ids. */
type Deliveries = Map<bigint, RawDelivery | RequestDelivery>

/** Everything that is on its way to the program. Each mode counts its own. */
class Traffic {
  readonly subscriptions: Subscriptions
  readonly peers = new Peers()
  readonly #conversation: Conversation
  readonly #options: IncomingOptions
  readonly #budget: InputBudget
  readonly #pool: Http1Pool
  readonly #stolen: Deliveries = new Map()
  readonly #mirrored: Deliveries = new Map()
  #isProgramGone = false

  constructor(conversation: Conversation, options: IncomingOptions) {
    this.#conversation = conversation
    this.#options = options
    this.#budget = new InputBudget(conversation)
    this.#pool = new Http1Pool(this.peers, options.idleConnectionMs)
    this.subscriptions = new Subscriptions(conversation, options)
    conversation.on("TcpSteal", (message) => this.#received(message, true))
    conversation.on("Tcp", (message) => this.#received(message, false))
    conversation.onInterrupted(() => this.#drop())
    conversation.onEnd(() => {
      this.#drop()
      this.#pool.close()
    })
  }

  #of(steal: boolean): Deliveries {
    return steal ? this.#stolen : this.#mirrored
  }

  /** The program has ended: who calls from now on is left to the agent, which goes on without us in a moment. */
  lastWords(): Promise<boolean> {
    this.#isProgramGone = true
    const open = [...this.#stolen.values(), ...this.#mirrored.values()]
    for (const delivery of open) delivery.programGone()
    return lastWords(open)
  }

  #received(message: DaemonTcp, steal: boolean): void {
    switch (message.kind) {
      case "SubscribeResult":
        this.subscriptions.answered(message.value)
        return
      case "NewConnectionV1":
        this.#connection(message.value, { kind: "Tcp" }, steal)
        return
      case "NewConnectionV2":
        this.#connection(message.value.connection, message.value.transport, steal)
        return
      case "Data": {
        const open = this.#of(steal).get(message.value.connectionId)
        if (open instanceof RawDelivery) open.data(message.value.bytes)
        else open?.tunnelData(message.value.bytes)
        return
      }
      case "Close":
        this.#of(steal).get(message.value.connectionId)?.closedByAgent()
        return
      case "HttpRequest":
      case "HttpRequestFramed": {
        const { internalRequest, connectionId, requestId, port } = message.value
        const { body, ...request } = internalRequest
        const frames = body instanceof Uint8Array ? [{ kind: "Data", value: body } as const] : body
        this.#request({ connectionId, requestId, port, request, frames, isLast: true, ...unknownOrigin(port) }, steal)
        return
      }
      case "HttpRequestChunked": {
        const start = requestStart(message.value)
        if (start) {
          this.#request(start, steal)
          return
        }
        const { connectionId } = message.value.value as { connectionId: bigint }
        const open = this.#of(steal).get(connectionId)
        if (!(open instanceof RequestDelivery)) return
        if (message.value.kind === "Body") open.bodyPart(message.value.value.frames, message.value.value.isLast)
        else open.lost()
      }
    }
  }

  #connection(from: NewTcpConnection, transport: TrafficTransport, steal: boolean): void {
    if (this.#isProgramGone) return
    const { connectionId, remoteAddress, sourcePort, localAddress, destinationPort } = from
    const to = this.subscriptions.listenerFor(destinationPort)
    if (!to) {
      const value = { kind: "ConnectionUnsubscribe", value: connectionId } as const
      this.#conversation.send(steal ? { kind: "TcpSteal", value } : { kind: "Tcp", value })
      return
    }
    const peer: IncomingPeer = {
      source: { ip: remoteAddress, port: sourcePort },
      destination: { ip: localAddress, port: destinationPort },
    }
    const place = this.#placeOf(destinationPort, to)
    const deliveries = this.#of(steal)
    const delivery: RawDelivery = new RawDelivery({
      conversation: this.#conversation,
      budget: this.#budget,
      connectionId,
      steal,
      connect: () => this.peers.connect(place(), peer, deliveryTls(transport, this.#options.tlsDelivery)),
      onOver: () => forget(deliveries, connectionId, delivery),
    })
    deliveries.set(connectionId, delivery)
  }

  #request(incoming: IncomingRequest, steal: boolean): void {
    if (this.#isProgramGone) return
    const deliveries = this.#of(steal)
    let over = false
    let delivery: RequestDelivery | undefined
    delivery = new RequestDelivery(incoming, {
      conversation: this.#conversation,
      steal,
      budget: this.#budget,
      exchange: (request, of, events) => this.#exchange(request, of, events),
      onOver: () => {
        over = true
        forget(deliveries, incoming.connectionId, delivery)
      },
    })
    if (!over) deliveries.set(incoming.connectionId, delivery)
  }

  #exchange(request: ExchangeRequest, of: IncomingRequest, events: ExchangeEvents) {
    const to = this.subscriptions.listenerFor(of.port)
    if (!to) return undefined
    const tls = deliveryTls(of.transport, this.#options.tlsDelivery)
    const common = { place: this.#placeOf(of.port, to), peer: of.peer, tls, request, events }
    if (of.request.version === "HTTP/2.0") return new Http2Exchange({ ...common, peers: this.peers })
    return new Http1Exchange({ ...common, pool: this.#pool })
  }

  #placeOf(port: number, until: Endpoint): Place {
    return () => this.subscriptions.listenerFor(port) ?? until
  }

  /** The callers are out of reach. */
  #drop(): void {
    for (const deliveries of [this.#stolen, this.#mirrored]) {
      for (const open of [...deliveries.values()]) open.closedByAgent()
      deliveries.clear()
    }
  }
}

/** Ids begin anew on a new connection: an old delivery must not take a new one along. */
function forget(deliveries: Deliveries, id: bigint, delivery: RawDelivery | RequestDelivery | undefined): void {
  if (deliveries.get(id) === delivery) deliveries.delete(id)
}
