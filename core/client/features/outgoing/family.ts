import { randomUUID } from "node:crypto"
import { AppError } from "../../../errors.ts"
import type { Endpoint } from "../../../interceptor.ts"
import type {
  ClientMessage,
  DaemonConnect,
  DaemonTcpOutgoing,
  LayerTcpOutgoing,
  ResponseError,
  Result,
  SocketAddress,
} from "../../../protocol/index.ts"
import { AnswerQueue } from "../../answer-queue.ts"
import type { Conversation } from "../../conversation.ts"
import { ErrnoError } from "../../engine.ts"
import type { InputBudget } from "../input-budget.ts"
import { errno, forbiddenText, toErrno } from "../response-errno.ts"
import { AgentConnection } from "./connection.ts"

export type FamilyKind = "TcpOutgoing" | "UdpOutgoing" | "SeqpacketOutgoing"

/** Longest wait for a connection; the agent gives up after 5 s by itself. */
const connectLimitMs = 15_000

/** The connections of one of the protocol's three outgoing families. */
export class OutgoingFamily {
  readonly #kind: FamilyKind
  readonly #conversation: Conversation
  readonly #budget: InputBudget
  readonly #open = new Map<bigint, AgentConnection>()
  readonly #byUid = new Map<string, (answer: Result<AgentConnection>) => void>()
  readonly #inOrder = new AnswerQueue<Result<AgentConnection>>()

  constructor(kind: FamilyKind, conversation: Conversation, budget: InputBudget) {
    this.#kind = kind
    this.#conversation = conversation
    this.#budget = budget
    // The message of seqpacket sockets lacks one variant; all others are the same.
    conversation.on(kind, (message) => this.#received(message as DaemonTcpOutgoing))
    conversation.onInterrupted((error) => this.#lost(error))
    conversation.onEnd((error) => {
      this.#inOrder.fail(new ErrnoError(errno.EIO, error.message))
      this.#lost(error)
    })
  }

  /** @throws ErrnoError */
  async connect(remoteAddress: SocketAddress): Promise<AgentConnection> {
    const answer = await this.#ask(remoteAddress)
    if (answer.kind === "Err") throw this.#refusal(answer.value)
    return answer.value
  }

  /** To be called in the turn in which the answer came: what a peer says first may have come along with it. */
  #opened(answer: Result<DaemonConnect>): Result<AgentConnection> {
    if (answer.kind === "Err") return answer
    const { connectionId, localAddress, remoteAddress } = answer.value
    const connection: AgentConnection = new AgentConnection({
      isStream: this.#kind === "TcpOutgoing",
      budget: this.#budget,
      local: endpointOf(localAddress),
      remote: endpointOf(remoteAddress),
      // On another connection to the operator its number is another's.
      forget: () => this.#open.get(connectionId) === connection && this.#open.delete(connectionId),
      wire: {
        write: (bytes) => this.#send({ kind: "Write", value: { connectionId, bytes } }),
        close: () => this.#sendUnhurried({ kind: "Close", value: { connectionId } }),
        whenWritable: () => this.#conversation.whenWritable(),
      },
    })
    this.#open.set(connectionId, connection)
    return { kind: "Ok", value: connection }
  }

  #ask(remoteAddress: SocketAddress): Promise<Result<AgentConnection>> {
    if (!this.#conversation.supports("connectV2")) {
      if (this.#kind === "SeqpacketOutgoing") throw new ErrnoError(errno.EINVAL, "the agent is too old for this")
      const answered = this.#inOrder.next()
      this.#send({ kind: "Connect", value: { remoteAddress } })
      return answered
    }
    const { promise, resolve } = Promise.withResolvers<Result<AgentConnection>>()
    const uid = randomUUID()
    const limit = setTimeout(() => {
      this.#byUid.delete(uid)
      resolve(lostAnswer(errno.ETIMEDOUT))
    }, connectLimitMs)
    this.#byUid.set(uid, (answer) => {
      clearTimeout(limit)
      this.#byUid.delete(uid)
      resolve(answer)
    })
    this.#send({ kind: "ConnectV2", value: { uid, remoteAddress } })
    return promise
  }

  #send(value: LayerTcpOutgoing): boolean {
    return this.#conversation.send({ kind: this.#kind, value } as ClientMessage)
  }

  #sendUnhurried(value: LayerTcpOutgoing): void {
    this.#conversation.sendUnhurried({ kind: this.#kind, value } as ClientMessage)
  }

  #received(message: DaemonTcpOutgoing): void {
    switch (message.kind) {
      case "Connect":
        if (!this.#inOrder.answer(this.#opened(message.value))) this.#conversation.broken("an outgoing connection")
        return
      case "ConnectV2": {
        const { uid, connect } = message.value
        const waiting = this.#byUid.get(uid)
        if (waiting) waiting(this.#opened(connect))
        // The program did not wait that long; without this the agent would keep the connection for ever.
        else if (connect.kind === "Ok")
          this.#send({ kind: "Close", value: { connectionId: connect.value.connectionId } })
        return
      }
      case "Read":
        if (message.value.kind === "Ok")
          this.#open.get(message.value.value.connectionId)?.received(message.value.value.bytes)
        else this.#conversation.broken("a failed read of no connection")
        return
      case "Close":
        this.#open.get(message.value)?.closedByAgent()
    }
  }

  #refusal(error: ResponseError): ErrnoError {
    const forbidden = forbiddenText(error)
    if (forbidden) this.#conversation.refused(new AppError("policy", forbidden))
    return toErrno(error)
  }

  #lost(error: Error): void {
    this.#inOrder.failWaiting(new ErrnoError(errno.EIO, error.message))
    for (const answer of this.#byUid.values()) answer(lostAnswer(errno.EIO))
    for (const connection of [...this.#open.values()]) connection.lost()
    this.#open.clear()
  }
}

function lostAnswer(rawOsError: number): { kind: "Err"; value: ResponseError } {
  return { kind: "Err", value: { kind: "RemoteIO", value: { rawOsError, kind: { kind: "Other" } } } }
}

function endpointOf(address: SocketAddress): Endpoint | undefined {
  return address.kind === "Ip" ? { ip: address.value.ip, port: address.value.port } : undefined
}
