import { AppError, errorText } from "../errors.ts"
import type { Link } from "../link.ts"
import type { Logger } from "../log.ts"
import { type ClientMessage, type DaemonMessage, featuresOf, type ProtocolFeature } from "../protocol/index.ts"
import { agentClosed, agentLost, agentUnexpected } from "./agent-faults.ts"
import type { AgentSession } from "./agent-session.ts"
import { Liveness, pingEveryMs } from "./liveness.ts"
import { Unhurried } from "./unhurried.ts"

type Kind = DaemonMessage["kind"]
type Handler<K extends Kind> = (
  value: Extract<DaemonMessage, { kind: K }> extends { value: infer V } ? V : undefined,
) => void

export interface ConversationOptions {
  log: Logger
  /** Text the user should read: what an agent says, or that the connection was lost and is back. */
  notice(text: string, level: NoticeLevel): void
  /** Time between pings. Default: see `Liveness`. */
  pingEveryMs?: number
  /** Silence after a ping for which the other side counts as gone. Default: see `Liveness`. */
  deadAfterMs?: number
}

export type NoticeLevel = "info" | "warn" | "connection"

/** Messages that may wait for a new connection; a program whose threads all wait for answers stays far below. */
const maxHeldMessages = 16_384
/** Connections given up for silence in a row, without any sign of life on the new ones. */
const maxSilentLosses = 5
const silence = "it does not answer any more"

/**
 * Everything said with an agent after the version is agreed: hands each answer to the feature that waits for it, keeps
 * the connection alive, and notices when it is gone.
 */
export class Conversation {
  readonly peer: string
  /** Resolves with the reason when the agent is gone and `end` was not called; never rejects. */
  readonly lost: Promise<AppError>
  readonly #session: AgentSession
  readonly #options: ConversationOptions
  readonly #handlers = new Map<Kind, (value: unknown) => void>()
  readonly #endings: ((error: AppError) => void)[] = []
  readonly #interruptions: ((error: AppError) => void)[] = []
  readonly #ending = new AbortController()
  readonly #timer: ReturnType<typeof setInterval>
  #tellLost!: (reason: AppError) => void
  #link: Link<DaemonMessage, ClientMessage>
  #version: string
  /** What that version has: every call of the program asks. */
  #features: ReadonlySet<ProtocolFeature>
  #begun = false
  #isLost = false
  /** What waits while a lost connection is made again; undefined while there is one. */
  #held: ClientMessage[] | undefined
  readonly #unhurried = new Unhurried((message) => this.#sendNow(message))
  #connectedAgain = Promise.withResolvers<void>()
  #silentLosses = 0
  #holds = 0
  readonly #liveness: Liveness

  constructor(session: AgentSession, options: ConversationOptions) {
    this.#session = session
    this.#options = options
    this.#link = session.link
    this.#version = session.protocolVersion
    this.#features = featuresOf(session.protocolVersion)
    this.peer = session.peer
    this.lost = new Promise((resolve) => {
      this.#tellLost = resolve
    })
    this.#watch(session.link)
    this.#liveness = new Liveness(performance.now(), options.pingEveryMs, options.deadAfterMs)
    this.#timer = setInterval(() => this.#tick(), options.pingEveryMs ?? pingEveryMs)
    this.#timer.unref()
  }

  /** Agreed protocol version. */
  get version(): string {
    return this.#version
  }

  /** The agent is gone; `lost` tells why now or, when more is asked for, soon. */
  get isLost(): boolean {
    return this.#isLost
  }

  get #over(): boolean {
    return this.#ending.signal.aborted
  }

  supports(feature: ProtocolFeature): boolean {
    return this.#features.has(feature)
  }

  /** Sets the one receiver of a kind of message; call it before `begin`. */
  on<K extends Kind>(kind: K, handler: Handler<K>): void {
    this.#handlers.set(kind, handler as (value: unknown) => void)
  }

  /** Called once when the conversation is over, however it ended. */
  onEnd(ending: (error: AppError) => void): void {
    this.#endings.push(ending)
  }

  /**
   * Called each time the connection is lost and will be made again: answers to what was asked will not come, and everything
   * the agent held for this session is gone. What is sent from now on waits for the new connection.
   */
  onInterrupted(interruption: (error: AppError) => void): void {
    this.#interruptions.push(interruption)
  }

  /** Something the user should read once. */
  notice(text: string, level: NoticeLevel): void {
    this.#options.notice(text, level)
  }

  /** Starts to read; all features have registered. */
  begin(): void {
    this.#begun = true
    this.#converse()
  }

  #converse(): void {
    if (this.supports("readyForLogs")) this.send({ kind: "ReadyForLogs" })
    const link = this.#link
    link.receive((message) => {
      if (link === this.#link && !this.#held) this.#received(message)
    })
    if (this.#holds === 0) this.#link.resume()
    this.#liveness.begin()
  }

  /** False: wait for `whenWritable` before producing more. */
  send(message: ClientMessage): boolean {
    const open = this.#sendNow(message)
    this.#unhurried.follow()
    return open
  }

  /** For what nobody waits for. */
  sendUnhurried(message: ClientMessage): void {
    if (!this.#over) this.#unhurried.add(message)
  }

  #sendNow(message: ClientMessage): boolean {
    if (!this.#held) return this.#link.send(message)
    if (this.#held.length >= maxHeldMessages) this.#lose("too much waits for it")
    else this.#held.push(message)
    return false
  }

  async whenWritable(): Promise<void> {
    while (this.#held && !this.#over) await this.#connectedAgain.promise
    await this.#link.whenWritable()
  }

  /** Stops reading until the returned function is called: somebody holds as much as may be held. */
  hold(): () => void {
    if (this.#holds++ === 0) this.#link.pause()
    let released = false
    return () => {
      if (released) return
      released = true
      // While we did not listen nothing could be heard.
      this.#liveness.heard()
      if (--this.#holds === 0) this.#link.resume()
    }
  }

  /** Ends in good order. */
  end(): void {
    this.#finish(new AppError("session-ended", "The session is over"))
  }

  #received(message: DaemonMessage): void {
    this.#liveness.heard()
    switch (message.kind) {
      case "Pong":
        this.#liveness.answered()
        this.#silentLosses = 0
        return
      case "OperatorPing":
        this.send({ kind: "OperatorPong", value: message.value })
        return
      case "LogMessage": {
        const { message: text, level } = message.value
        this.#options.notice(text, level.kind === "Info" ? "info" : "warn")
        return
      }
      case "Close":
        this.#fail(agentClosed(this.peer, message.value))
        return
      case "SwitchProtocolVersionResponse":
        return
      default: {
        const handler = this.#handlers.get(message.kind)
        if (handler) handler("value" in message ? message.value : undefined)
        else this.#fail(agentUnexpected(this.peer, message.kind))
      }
    }
  }

  /** For features: the agent broke the rules in a way that leaves nothing to go on with. */
  broken(what: string): void {
    this.#fail(agentUnexpected(this.peer, what))
  }

  /** For features: the cluster's owner forbids what the program wants. Ends the session, so that nobody takes it for a fault. */
  refused(refusal: AppError): void {
    this.#fail(refusal)
  }

  #watch(link: Link<DaemonMessage, ClientMessage>): void {
    void link.ended.then(({ error }) => {
      if (link === this.#link && !this.#held) this.#interrupted(error?.message ?? "it closed the connection")
    })
  }

  /** The connection is gone; the session may go on with another. */
  #interrupted(why: string): void {
    if (this.#over || !this.#begun || !this.#session.reconnect) {
      this.#lose(why)
      return
    }
    this.#held = []
    // They end what the lost connection took with it.
    this.#unhurried.drop()
    this.#connectedAgain = Promise.withResolvers()
    this.#link.abort()
    const error = agentLost(this.peer, why)
    this.notice(`${error.message}; connecting again`, "connection")
    for (const interruption of this.#interruptions) interruption(error)
    this.#session
      .reconnect(this.#ending.signal)
      .then(({ link, protocolVersion }) => this.#resumed(link, protocolVersion))
      .catch((thrown) => this.#lose(`${why}, and it cannot be reached again: ${errorText(thrown)}`))
  }

  #resumed(link: Link<DaemonMessage, ClientMessage>, protocolVersion: string): void {
    if (this.#over) {
      link.abort()
      return
    }
    this.#link = link
    this.#version = protocolVersion
    this.#features = featuresOf(protocolVersion)
    const held = this.#held ?? []
    this.#held = undefined
    this.#converse()
    for (const message of held) link.send(message)
    this.#watch(link)
    this.#connectedAgain.resolve()
    this.notice(
      `Connected to the ${this.peer} again; connections and remote files that were open are lost`,
      "connection",
    )
  }

  #tick(): void {
    if (this.#held) return
    // While we do not listen nothing can be heard.
    if (this.#holds > 0) this.#liveness.heard()
    const verdict = this.#liveness.look(performance.now(), this.#link.sentBytes ?? 0)
    if (verdict === "ask") this.send({ kind: "Ping" })
    if (verdict !== "gone") return
    if (++this.#silentLosses > maxSilentLosses) this.#lose(silence)
    else this.#interrupted(silence)
  }

  #lose(why: string): void {
    const error = agentLost(this.peer, why)
    // Of one that fell silent Kubernetes knows no more, and time has gone by.
    const explained = why === silence || this.#over ? undefined : this.#session.explainLoss?.(error)
    this.#fail(error, explained)
  }

  /** @param explained the same error, when more is known of it */
  #fail(error: AppError, explained?: Promise<AppError>): void {
    if (this.#over) return
    this.#options.log.debug("conversation failed", { error })
    this.#isLost = true
    // There is nobody to say goodbye to; waiting for an answer would only hold up the end.
    this.#link.abort(error)
    if (explained) void explained.then(this.#tellLost)
    else this.#tellLost(error)
    this.#finish(error)
  }

  #finish(error: AppError): void {
    if (this.#over) return
    this.#ending.abort()
    this.#connectedAgain.resolve()
    this.#unhurried.drop()
    clearInterval(this.#timer)
    for (const ending of this.#endings) ending(error)
  }
}
