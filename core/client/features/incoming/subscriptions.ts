import { AppError } from "../../../errors.ts"
import type { Endpoint } from "../../../interceptor.ts"
import type { ClientMessage, DaemonTcp, StealType } from "../../../protocol/index.ts"
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
}

/** Which of the pod's ports this session takes, and where in the program they lead. */
export class Subscriptions {
  readonly #conversation: Conversation
  readonly #options: IncomingOptions
  readonly #answers = new AnswerQueue<SubscribeAnswer>()
  readonly #byRemotePort = new Map<number, Subscription>()
  #warned = false

  constructor(conversation: Conversation, options: IncomingOptions) {
    this.#conversation = conversation
    this.#options = options
    conversation.onEnd((error) => this.#answers.fail(error))
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
    const subscription: Subscription = { listeners: [listener], ready: this.#subscribe(remotePort) }
    this.#byRemotePort.set(remotePort, subscription)
    try {
      await subscription.ready
    } catch (thrown) {
      this.#byRemotePort.delete(remotePort)
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

  async #subscribe(port: number): Promise<void> {
    const answered = this.#answers.next()
    this.#conversation.send(this.#message(port))
    const answer = await answered.catch((error: Error) => {
      throw new ErrnoError(errno.EIO, error.message)
    })
    if (answer.kind === "Ok") return
    const refusal = forbiddenText(answer.value)
    if (refusal) {
      this.#conversation.refused(
        new AppError("policy", `Cannot ${this.#options.mode} port ${port}: ${refusal}`, {
          next: "Change the configuration, or ask the cluster's owner.",
        }),
      )
    } else if (answer.value.kind !== "PortAlreadyStolen") {
      this.#conversation.broken(`a refusal of port ${port} (${answer.value.kind})`)
    }
    throw toErrno(answer.value)
  }

  #message(port: number): ClientMessage {
    const { mode, filterPorts } = this.#options
    const filter = filterPorts && !filterPorts.includes(port) ? undefined : this.#options.filter
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
