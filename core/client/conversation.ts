import { AppError } from "../errors.ts"
import type { Logger } from "../log.ts"
import { type ClientMessage, type DaemonMessage, type ProtocolFeature, supports } from "../protocol/index.ts"
import type { AgentSession } from "./agent-session.ts"
import { agentClosed } from "./session/negotiate.ts"

type Kind = DaemonMessage["kind"]
type Handler<K extends Kind> = (
  value: Extract<DaemonMessage, { kind: K }> extends { value: infer V } ? V : undefined,
) => void

export interface ConversationOptions {
  log: Logger
  /** Text an agent wants the user to read. */
  notice(text: string, level: "info" | "warn"): void
  /** Time between pings. Default 1500 ms. */
  pingEveryMs?: number
  /** Silence after which the other side counts as gone. Default 4500 ms, so that a loss is told within 5 s. */
  deadAfterMs?: number
}

/**
 * Everything said with an agent after the version is agreed: hands each answer to the feature that waits for it, keeps
 * the connection alive, and notices when it is gone.
 */
export class Conversation {
  readonly version: string
  readonly peer: string
  /** Resolves with the reason when the agent is gone and `end` was not called; never rejects. */
  readonly lost: Promise<AppError>
  readonly #session: AgentSession
  readonly #options: ConversationOptions
  readonly #handlers = new Map<Kind, (value: unknown) => void>()
  readonly #endings: ((error: AppError) => void)[] = []
  readonly #timer: ReturnType<typeof setInterval>
  #tellLost!: (reason: AppError) => void
  #over = false
  #holds = 0
  #heardAt = performance.now()
  #tickAt = performance.now()

  constructor(session: AgentSession, options: ConversationOptions) {
    this.#session = session
    this.#options = options
    this.version = session.protocolVersion
    this.peer = session.peer
    this.lost = new Promise((resolve) => {
      this.#tellLost = resolve
    })
    void session.link.ended.then(({ error }) => this.#lose(error?.message ?? "it closed the connection"))
    this.#timer = setInterval(() => this.#tick(), options.pingEveryMs ?? 1_500)
    this.#timer.unref()
  }

  supports(feature: ProtocolFeature): boolean {
    return supports(this.version, feature)
  }

  /** Sets the one receiver of a kind of message; call it before `begin`. */
  on<K extends Kind>(kind: K, handler: Handler<K>): void {
    this.#handlers.set(kind, handler as (value: unknown) => void)
  }

  /** Called once when the conversation is over, however it ended. */
  onEnd(ending: (error: AppError) => void): void {
    this.#endings.push(ending)
  }

  /** Something the user should read once. */
  notice(text: string, level: "info" | "warn"): void {
    this.#options.notice(text, level)
  }

  /** Starts to read; all features have registered. */
  begin(): void {
    if (this.supports("readyForLogs")) this.send({ kind: "ReadyForLogs" })
    this.#session.link.receive((message) => this.#received(message))
    this.#session.link.resume()
    this.#heardAt = performance.now()
  }

  /** False: wait for `whenWritable` before producing more. */
  send(message: ClientMessage): boolean {
    return this.#session.link.send(message)
  }

  whenWritable(): Promise<void> {
    return this.#session.link.whenWritable()
  }

  /** Stops reading until the returned function is called: somebody holds as much as may be held. */
  hold(): () => void {
    if (this.#holds++ === 0) this.#session.link.pause()
    let released = false
    return () => {
      if (released) return
      released = true
      // While we did not listen nothing could be heard.
      this.#heardAt = performance.now()
      if (--this.#holds === 0) this.#session.link.resume()
    }
  }

  /** Ends in good order. */
  end(): void {
    this.#finish(new AppError("session-ended", "The session is over"))
  }

  #received(message: DaemonMessage): void {
    this.#heardAt = performance.now()
    switch (message.kind) {
      case "Pong":
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
        else this.#fail(unexpected(this.peer, message.kind))
      }
    }
  }

  /** For features: the agent broke the rules in a way that leaves nothing to go on with. */
  broken(what: string): void {
    this.#fail(unexpected(this.peer, what))
  }

  /** For features: the cluster's owner forbids what the program wants. Ends the session, so that nobody takes it for a fault. */
  refused(refusal: AppError): void {
    this.#fail(refusal)
  }

  #tick(): void {
    const now = performance.now()
    const interval = this.#options.pingEveryMs ?? 1_500
    // A tick that comes far too late says that this process was stopped or the machine slept, not that the peer is silent.
    if (now - this.#tickAt > 2 * interval || this.#holds > 0) this.#heardAt = now
    this.#tickAt = now
    if (now - this.#heardAt > (this.#options.deadAfterMs ?? 4_500) - interval) {
      this.#lose("it does not answer any more")
      return
    }
    this.send({ kind: "Ping" })
  }

  #lose(why: string): void {
    this.#fail(
      new AppError("agent-lost", `Lost the ${this.peer}: ${why}`, {
        next: "Start the session again; if it happens again, look at the agent's pod and at the network.",
      }),
    )
  }

  #fail(error: AppError): void {
    if (this.#over) return
    this.#options.log.debug("conversation failed", { error })
    // There is nobody to say goodbye to; waiting for an answer would only hold up the end.
    this.#session.link.abort(error)
    this.#tellLost(error)
    this.#finish(error)
  }

  #finish(error: AppError): void {
    if (this.#over) return
    this.#over = true
    clearInterval(this.#timer)
    for (const ending of this.#endings) ending(error)
  }
}

function unexpected(peer: string, what: string): AppError {
  return new AppError("agent-unexpected", `The ${peer} sent something that was not asked for: ${what}`, {
    next: "Use an agent and a client of matching versions.",
  })
}
