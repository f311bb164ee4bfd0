import { AppError, errorText } from "../core/errors.ts"
import { MovableLink } from "../core/link/index.ts"
import type { Link } from "../core/link.ts"
import type { Logger } from "../core/log.ts"
import {
  type ClientMessage,
  type DaemonMessage,
  featuresOf,
  movedBy,
  negotiate,
  type ProtocolFeature,
  unnegotiatedVersion,
} from "../core/protocol/index.ts"
import type { AgentClient, AgentFeature, ClientFeature } from "./feature.ts"

/** What is said when nothing serves a kind of message: the agent has no target, or cannot intercept beside it. */
const unserved: Partial<Record<ClientMessage["kind"], string>> = {
  Tcp: "The mirroring component is not running: the agent has no target",
  TcpSteal: "incoming traffic stealing is not available in the targetless mode",
}

const unnegotiated = featuresOf(unnegotiatedVersion)

/** Gives the connection that was opened for a client to move to, paused once. */
export type TakeCarrier = (token: string) => Link<ClientMessage, DaemonMessage> | undefined

/** One client: answers what concerns the connection itself and hands the rest to the features. */
export class ClientConnection implements AgentClient {
  readonly id: number
  readonly log: Logger
  readonly signal: AbortSignal
  /** Settles once the client is gone and its features have let go of it. */
  readonly ended: Promise<void>
  readonly #link: MovableLink<ClientMessage, DaemonMessage>
  readonly #takeCarrier: TakeCarrier
  readonly #aborter = new AbortController()
  readonly #features: readonly AgentFeature[]
  /** Made with the first message for them: whoever only connects costs little. */
  readonly #parts: ClientFeature[] = []
  readonly #byKind = new Map<ClientMessage["kind"], ClientFeature>()
  /** Of the version the client sent: its own limits count, not the agreed ones. */
  #supported = unnegotiated
  #wantsLogs = false
  #isCarrier = false
  #hasSpoken = false

  /** `onFirstMessage` hears once that this is a client and not just somebody who connected. */
  constructor(
    id: number,
    link: Link<ClientMessage, DaemonMessage>,
    features: readonly AgentFeature[],
    log: Logger,
    onFirstMessage: () => void,
    takeCarrier: TakeCarrier = () => undefined,
  ) {
    this.id = id
    this.log = log
    this.#link = new MovableLink(link)
    this.#takeCarrier = takeCarrier
    this.signal = this.#aborter.signal
    this.#features = features
    this.ended = this.#link.ended.then(({ error }) => this.#finish(error))
    this.#link.receive((message) => {
      if (!this.#hasSpoken) onFirstMessage()
      this.#hasSpoken = true
      this.#handle(message)
    })
  }

  get hasSpoken(): boolean {
    return this.#hasSpoken
  }

  supports(feature: ProtocolFeature): boolean {
    return this.#supported.has(feature)
  }

  send(message: DaemonMessage): boolean {
    return this.#link.send(message)
  }

  whenWritable(): Promise<void> {
    return this.#link.whenWritable()
  }

  holdInput(): () => void {
    let held = true
    this.#link.pause()
    return () => {
      if (held) this.#link.resume()
      held = false
    }
  }

  tell(level: "Warn" | "Error" | "Info", message: string): void {
    if (!this.#wantsLogs || (level === "Info" && !this.supports("infoLog"))) return
    this.send({ kind: "LogMessage", value: { message, level: { kind: level } } })
  }

  refuse(reason: string, inLog = reason): void {
    this.log.info("client refused", { reason: inLog })
    this.send({ kind: "Close", value: reason })
  }

  end(reason: string): void {
    this.refuse(reason)
    this.#link.close()
  }

  /** Becomes a carrier for another client: it may prove that it works by one version, and from then on nothing is read. */
  awaitClient(): void {
    this.#isCarrier = true
  }

  /** Ends this client and gives its carrier to another. */
  release(): Link<ClientMessage, DaemonMessage> {
    return this.#link.release()
  }

  /** Without a word, as towards somebody who has gone or was never let in. */
  abort(): void {
    this.#link.abort()
  }

  #handle(message: ClientMessage): void {
    if (this.signal.aborted) return
    try {
      this.#dispatch(message)
    } catch (thrown) {
      if (!(thrown instanceof AppError)) this.log.error("client message failed", { kind: message.kind, error: thrown })
      this.end(errorText(thrown))
    }
  }

  #dispatch(message: ClientMessage): void {
    switch (message.kind) {
      case "Ping":
        this.send({ kind: "Pong" })
        return
      case "OperatorPong":
        return
      case "SwitchProtocolVersion":
        this.#switchVersion(message.value)
        return
      case "ReadyForLogs":
        this.#wantsLogs = true
        return
      case "Close":
        this.#link.close()
        return
      case "PauseTargetRequest":
        this.refuse("Pause isn't supported anymore.")
        return
      case "Vpn":
        this.refuse("VPN is not supported")
        return
      default:
        this.#dispatchToFeature(message)
    }
  }

  #switchVersion(version: string): void {
    const token = movedBy(version)
    const next = token === undefined ? undefined : this.#takeCarrier(token)
    if (next === undefined) {
      this.#supported = featuresOf(version)
      this.send({ kind: "SwitchProtocolVersionResponse", value: negotiate(version) })
      if (this.#isCarrier) this.#link.pause()
      return
    }
    this.send({ kind: "SwitchProtocolVersionResponse", value: version })
    this.#link.moved(next)
    this.log.debug("client moved to another connection")
  }

  #dispatchToFeature(message: ClientMessage): void {
    const part = this.#byKind.get(message.kind) ?? this.#serve(message.kind)
    const reason = unserved[message.kind]
    if (part) part.handle(message)
    else if (reason) this.refuse(reason)
  }

  #serve(wanted: ClientMessage["kind"]): ClientFeature | undefined {
    const feature = this.#features.find(({ kinds }) => kinds.includes(wanted))
    if (!feature) return undefined
    const part = feature.serve(this)
    this.#parts.push(part)
    for (const kind of feature.kinds) this.#byKind.set(kind, part)
    return part
  }

  #finish(error: Error | undefined): void {
    this.#aborter.abort()
    for (const part of this.#parts) {
      try {
        part.close()
      } catch (thrown) {
        this.log.error("a feature could not let go of its client", { error: thrown })
      }
    }
    this.log.info("client gone", error ? { error } : {})
  }
}
