import { AppError } from "../../../errors.ts"
import type { Endpoint } from "../../../interceptor.ts"
import type { ClientMessage, DaemonTcp, HttpFilter, ResponseError, StealType } from "../../../protocol/index.ts"
import { AnswerQueue } from "../../answer-queue.ts"
import type { Conversation } from "../../conversation.ts"
import { ErrnoError } from "../../engine.ts"
import { errno, forbiddenText, toErrno } from "../response-errno.ts"
import type { IncomingOptions } from "./options.ts"

type SubscribeAnswer = Extract<DaemonTcp, { kind: "SubscribeResult" }>["value"]

interface Subscription {
  /** Where the program listens for it; the newest gets the traffic. */
  listeners: Endpoint[]
  ready: Promise<void>
  /** The agent's answer has come on the present connection. */
  established: boolean
}

/** After this the user is told what the program waits for: an operator makes agents for all of the target's pods first. */
const slowMs = 2_000

/** Which of the pod's ports this session takes, and where in the program they lead. */
export class Subscriptions {
  readonly #conversation: Conversation
  readonly #options: IncomingOptions
  readonly #answers = new AnswerQueue<SubscribeAnswer>()
  readonly #byRemotePort = new Map<number, Subscription>()
  #warned = false
  #over = false

  constructor(conversation: Conversation, options: IncomingOptions) {
    this.#conversation = conversation
    this.#options = options
    conversation.onInterrupted((error) => {
      this.#answers.failWaiting(error)
      for (const [port, subscription] of this.#byRemotePort) {
        if (subscription.established) void this.#restore(port, subscription)
      }
    })
    conversation.onEnd((error) => {
      this.#over = true
      this.#answers.fail(error)
    })
  }

  answered(answer: SubscribeAnswer): void {
    if (!this.#answers.answer(answer)) this.#conversation.broken("a subscription")
  }

  /** @throws ErrnoError EADDRINUSE when somebody else has the port */
  async add(remotePort: number, listener: Endpoint): Promise<void> {
    const known = this.#byRemotePort.get(remotePort)
    if (known) {
      known.listeners.push(listener)
      await known.ready
      return
    }
    const isWanted = () => this.#byRemotePort.get(remotePort) === subscription
    const ready = this.#subscribe(remotePort, isWanted)
    const subscription: Subscription = { listeners: [listener], ready, established: false }
    this.#byRemotePort.set(remotePort, subscription)
    try {
      await subscription.ready
      subscription.established = true
    } catch (thrown) {
      if (isWanted()) this.#byRemotePort.delete(remotePort)
      throw thrown
    }
  }

  remove(remotePort: number, listener: Endpoint): void {
    const subscription = this.#byRemotePort.get(remotePort)
    const at =
      subscription?.listeners.findLastIndex(({ ip, port }) => ip === listener.ip && port === listener.port) ?? -1
    if (!subscription || at < 0) return
    subscription.listeners.splice(at, 1)
    if (subscription.listeners.length > 0) return
    this.#byRemotePort.delete(remotePort)
    this.#send({ kind: "PortUnsubscribe", value: remotePort })
  }

  listenerFor(remotePort: number): Endpoint | undefined {
    return this.#byRemotePort.get(remotePort)?.listeners.at(-1)
  }

  async #subscribe(port: number, isWanted: () => boolean): Promise<void> {
    const telling = setTimeout(
      () =>
        this.#conversation.notice(
          `The program waits in listen: the ${this.#conversation.peer} is still taking port ${port} of the target`,
          "info",
        ),
      slowMs,
    )
    const answer = await this.#ask(port, isWanted).finally(() => clearTimeout(telling))
    if (answer.kind === "Ok") {
      if (this.#takesProbes(port)) this.#conversation.notice(probesOf(port), "warn")
      return
    }
    if (answer.value.kind !== "PortAlreadyStolen") this.#endFor(port, answer.value)
    throw toErrno(answer.value)
  }

  /** Takes a port again on a new connection; its program listens and knows nothing of the loss. */
  async #restore(port: number, subscription: Subscription): Promise<void> {
    subscription.established = false
    const isWanted = () => this.#byRemotePort.get(port) === subscription
    try {
      const answer = await this.#ask(port, isWanted)
      if (answer.kind === "Ok") subscription.established = true
      else if (answer.value.kind !== "PortAlreadyStolen") this.#endFor(port, answer.value)
      else {
        if (isWanted()) this.#byRemotePort.delete(port)
        this.#conversation.notice(`Port ${port} was taken by another session while the connection was lost`, "warn")
      }
    } catch {
      // The session is over, and everybody has been told; or the program listens no more.
    }
  }

  /**
   * Asks until there is an answer: with the connection an answer may be lost. @throws ErrnoError EIO when the session is over, or nobody
   * wants the port any more
   */
  async #ask(port: number, isWanted: () => boolean): Promise<SubscribeAnswer> {
    for (;;) {
      const answered = this.#answers.next()
      this.#conversation.send(this.#message(port))
      try {
        return await answered
      } catch (thrown) {
        if (this.#over || !isWanted()) throw new ErrnoError(errno.EIO, (thrown as Error).message)
      }
    }
  }

  #endFor(port: number, error: ResponseError): void {
    const refusal = forbiddenText(error)
    if (!refusal) {
      this.#conversation.broken(`a refusal of port ${port} (${error.kind})`)
      return
    }
    this.#conversation.refused(
      new AppError("policy", `Cannot ${this.#options.mode} port ${port}: ${refusal}`, {
        next: "Change the configuration, or ask the cluster's owner.",
      }),
    )
  }

  #filterOf(port: number): HttpFilter | undefined {
    const { filter, filterPorts } = this.#options
    return filterPorts && !filterPorts.includes(port) ? undefined : filter
  }

  #takesProbes(port: number): boolean {
    const { mode, probedPorts = [] } = this.#options
    return mode === "steal" && probedPorts.includes(port) && this.#filterOf(port) === undefined
  }

  #message(port: number): ClientMessage {
    const { mode } = this.#options
    const filter = this.#filterOf(port)
    if (mode === "steal") {
      const value: StealType = filter ? { kind: "FilteredHttpEx", value: [port, filter] } : { kind: "All", value: port }
      return { kind: "TcpSteal", value: { kind: "PortSubscribe", value } }
    }
    if (!filter) return { kind: "Tcp", value: { kind: "PortSubscribe", value: port } }
    if (this.#conversation.supports("mirrorHttpFilter")) {
      return { kind: "Tcp", value: { kind: "PortSubscribeFilteredHttp", value: [port, filter] } }
    }
    if (!this.#warned)
      this.#conversation.notice("The agent is too old to filter mirrored requests: all of them are mirrored", "warn")
    this.#warned = true
    return { kind: "Tcp", value: { kind: "PortSubscribe", value: port } }
  }

  #send(value: { kind: "PortUnsubscribe"; value: number }): void {
    this.#conversation.send(this.#options.mode === "steal" ? { kind: "TcpSteal", value } : { kind: "Tcp", value })
  }
}

const probesOf = (port: number) =>
  `Kubernetes asks port ${port} of the pod whether it is well, and now your program answers: if it does not as the pod would, the pod is restarted or taken out of its services. An HTTP filter leaves such questions to the pod.`
