import type { Denied, Plugins } from "../../host.ts"
import { type ClientMessage, type DaemonMessage, type ResponseError, supports } from "../../protocol/index.ts"
import type { OutgoingRequest, Session } from "../../session.ts"
import type { AgentConnection } from "./agent-connection.ts"
import { AnswerQueue } from "./answer-queue.ts"
import { accessDenied, failedFile, refusedFile } from "./file-answers.ts"
import { FilePaths } from "./file-paths.ts"
import {
  failedConnect,
  forbiddenConnect,
  type OutgoingConnect,
  outgoingConnect,
  outgoingQuestion,
} from "./outgoing-requests.ts"
import { Renumbering } from "./renumbering.ts"
import { ResolvedNames } from "./resolved-names.ts"

export interface PrimaryTrafficOptions {
  plugins: Plugins<"operator">
  session: Session
  /** Agreed with the client. */
  version(): string
  toClient(message: DaemonMessage): void
  toAgent(to: AgentConnection, message: ClientMessage): void
  /** Stop reading from the client until `pending` has room. */
  hold(pending: { whenWritable(): Promise<void> }): void
  onDenied(what: string, denial: Denied): void
  /** Ends the client's socket with a reason. */
  fail(why: string): void
}

/** Messages kept while no agent is there, for one client; beyond it the client is not read. */
const maxWaiting = 1_024

/** Requests that wait for plugins at once, for one client; beyond it the client is not read. */
const maxJudging = 256

const lostAgent: ResponseError = {
  kind: "SystemFailure",
  value: { canRetry: true, code: 1, message: "The agent beside the target was lost" },
}
const EBADF = 9
const badDescriptor: ResponseError = {
  kind: "RemoteIO",
  value: { rawOsError: EBADF, kind: { kind: "Unknown", value: "EBADF" } },
}
const dnsFailed: ResponseError = { kind: "DnsLookup", value: { kind: { kind: "NoRecordsFound", value: 3 } } }

/** Environment, files, names and outgoing connections: what one agent answers, judged by the plugins on the way. */
export class PrimaryTraffic {
  readonly #options: PrimaryTrafficOptions
  readonly #paths = new FilePaths()
  readonly #resolved = new ResolvedNames()
  readonly #judgesFiles: boolean
  readonly #judgesOutgoing: boolean
  readonly #files: AnswerQueue
  readonly #names: AnswerQueue
  readonly #environment: AnswerQueue
  /** Second-form connects the agent has not answered. */
  readonly #connecting = new Map<string, OutgoingConnect>()
  readonly #connects: { TcpOutgoing: AnswerQueue; UdpOutgoing: AnswerQueue }
  /** Requests go on in the order they came, also when a plugin takes its time over one. */
  #turn: Promise<void> | undefined
  #judging = 0
  readonly #numbers = new Renumbering()
  #connection: AgentConnection | undefined
  /** What the client sent while there was no agent. */
  #waiting: ClientMessage[] = []
  #room: PromiseWithResolvers<void> | undefined

  constructor(options: PrimaryTrafficOptions, first: AgentConnection) {
    this.#options = options
    this.#connection = first
    this.#judgesFiles = options.plugins.has("authorizeFile")
    this.#judgesOutgoing = options.plugins.has("authorizeOutgoing")
    const queue = () => new AnswerQueue((answer) => options.toClient(answer))
    this.#files = queue()
    this.#names = queue()
    this.#environment = queue()
    this.#connects = { TcpOutgoing: queue(), UdpOutgoing: queue() }
  }

  /** Undefined while the next agent is awaited. */
  get connection(): AgentConnection | undefined {
    return this.#connection
  }

  /** The next agent: it gets what the client sent meanwhile. */
  resume(connection: AgentConnection): void {
    this.#connection = connection
    for (const message of this.#waiting.splice(0)) this.#options.toAgent(connection, message)
    this.#room?.resolve()
    this.#room = undefined
  }

  fromClient(message: ClientMessage) {
    if (this.#turn === undefined && !this.#mustJudge(message)) {
      this.#forward(message)
      return
    }
    this.#judging++
    if (this.#judging >= maxJudging) this.#options.hold({ whenWritable: () => this.#turn ?? Promise.resolve() })
    const turn = (this.#turn ?? Promise.resolve())
      .then(() => this.#judge(message))
      .catch((error: unknown) =>
        this.#options.fail(error instanceof Error ? error.message : "a request could not be judged"),
      )
      .finally(() => {
        this.#judging--
        if (this.#turn === turn) this.#turn = undefined
      })
    this.#turn = turn
  }

  fromAgent(original: DaemonMessage) {
    const message = this.#numbers.toClient(original)
    switch (message.kind) {
      case "File":
        if (this.#judgesFiles) this.#paths.answered(message)
        return void this.#files.arrived(message)
      case "GetAddrInfoResponse":
        if (this.#judgesOutgoing) this.#resolved.answered(message.value)
        return void this.#names.arrived(message)
      case "GetEnvVarsResponse":
        return void this.#environment.arrived(this.#filtered(message))
      case "TcpOutgoing":
      case "UdpOutgoing":
      case "SeqpacketOutgoing":
        if (message.value.kind === "ConnectV2") this.#connecting.delete(message.value.value.uid)
        return message.kind !== "SeqpacketOutgoing" && message.value.kind === "Connect"
          ? void this.#connects[message.kind].arrived(message)
          : this.#options.toClient(message)
      default:
        this.#options.toClient(message)
    }
  }

  /** The agent is gone: everything it still owes is answered, its connections end, its descriptors mean nothing any more. */
  lost(): void {
    this.#connection = undefined
    this.#paths.lost()
    this.#resolved.lost()
    for (const end of this.#numbers.lose()) this.#options.toClient(end)
    for (const [uid, connect] of this.#connecting) {
      this.#options.toClient(failedConnect(connect, lostAgent))
      this.#connecting.delete(uid)
    }
    for (const queue of [this.#files, this.#names, this.#environment, ...Object.values(this.#connects)]) queue.lose()
  }

  #mustJudge(message: ClientMessage): boolean {
    if (message.kind === "FileRequest") return this.#judgesFiles
    if (message.kind === "GetAddrInfoRequest" || message.kind === "GetAddrInfoRequestV2") return this.#judgesOutgoing
    return this.#judgesOutgoing && outgoingConnect(message) !== undefined
  }

  async #judge(message: ClientMessage): Promise<void> {
    if (!this.#mustJudge(message)) {
      this.#forward(message)
      return
    }
    if (message.kind === "FileRequest") return this.#judgeFile(message)
    const connect = outgoingConnect(message)
    if (connect) {
      const question = outgoingQuestion(connect)
      const names = question.port === undefined ? [] : this.#resolved.of(question.host)
      const denial = await this.#outgoingDenial({ ...question, names })
      if (!denial) {
        this.#forward(message)
        return
      }
      const refusal = forbiddenConnect(connect, denial, supports(this.#options.version(), "forbiddenWithReason"))
      if (connect.uid === undefined && connect.family !== "SeqpacketOutgoing")
        this.#connects[connect.family].settle(refusal)
      else this.#options.toClient(refusal)
      return
    }
    if (message.kind !== "GetAddrInfoRequest" && message.kind !== "GetAddrInfoRequestV2") return
    const denial = await this.#outgoingDenial({
      protocol: "dns",
      host: message.value.node.replace(/\.$/, ""),
      names: [],
    })
    if (denial) {
      this.#names.settle({ kind: "GetAddrInfoResponse", value: { kind: "Err", value: dnsFailed } })
      return
    }
    this.#resolved.asked(message.value.node)
    this.#forward(message)
  }

  async #judgeFile(message: ClientMessage & { kind: "FileRequest" }): Promise<void> {
    const { plugins, session, onDenied } = this.#options
    const questions = this.#paths.questions(message.value)
    for (const question of questions ?? []) {
      const verdict = await plugins.authorize("authorizeFile", { session, ...question })
      if (verdict.allow) continue
      // To open it elsewhere is a rule, not a refusal: a program may do it all the time.
      if (verdict.answer !== "local") onDenied(`${question.access} ${question.path}`, verdict)
      return this.#refuseFile(message, refusedFile(verdict, question.opens, this.#options.version()))
    }
    // A path below a folder that is not known cannot be judged.
    if (questions === undefined) return this.#refuseFile(message, accessDenied)
    // One about a descriptor of an agent that was lost meanwhile goes nowhere, and no answer to it will come.
    if (this.#forward(message)) this.#paths.sent(message.value, questions)
  }

  #refuseFile(message: ClientMessage & { kind: "FileRequest" }, error: ResponseError): void {
    const refusal = failedFile(message.value, error)
    if (refusal) this.#files.settle(refusal)
  }

  async #outgoingDenial(question: Omit<OutgoingRequest, "session">): Promise<Denied | undefined> {
    const { plugins, session, onDenied } = this.#options
    const verdict = await plugins.authorize("authorizeOutgoing", { session, ...question })
    if (verdict.allow) return undefined
    onDenied(`${question.protocol} ${question.host}${question.port === undefined ? "" : `:${question.port}`}`, verdict)
    return verdict
  }

  /** False for what is about something of an agent that is gone. */
  #forward(message: ClientMessage): boolean {
    const sent = this.#numbers.toAgent(message)
    if (sent === "stale") {
      this.#refuseStale(message)
      return false
    }
    // Its place among the answers is taken now, also when it has to wait for the next agent.
    this.#expect(message)
    if (this.#connection) this.#options.toAgent(this.#connection, sent)
    else this.#wait(sent)
    return true
  }

  #wait(message: ClientMessage): void {
    this.#waiting.push(message)
    if (this.#waiting.length < maxWaiting || this.#room) return
    this.#room = Promise.withResolvers()
    const { promise } = this.#room
    this.#options.hold({ whenWritable: () => promise })
  }

  /** About a descriptor of an agent that is gone; what is about its connections needs no answer. */
  #refuseStale(message: ClientMessage): void {
    const refusal = message.kind === "FileRequest" && failedFile(message.value, badDescriptor)
    if (refusal) this.#files.settle(refusal)
  }

  #expect(message: ClientMessage) {
    const failed = { kind: "Err" as const, value: lostAgent }
    switch (message.kind) {
      case "FileRequest": {
        const onLoss = failedFile(message.value, lostAgent)
        if (onLoss) this.#files.expect(onLoss)
        return
      }
      case "GetAddrInfoRequest":
      case "GetAddrInfoRequestV2":
        return this.#names.expect({ kind: "GetAddrInfoResponse", value: failed })
      case "GetEnvVarsRequest":
        return this.#environment.expect({ kind: "GetEnvVarsResponse", value: failed })
    }
    const connect = outgoingConnect(message)
    if (connect?.uid !== undefined) this.#connecting.set(connect.uid, connect)
    else if (connect && connect.family !== "SeqpacketOutgoing") {
      this.#connects[connect.family].expect(failedConnect(connect, lostAgent))
    }
  }

  /** What plugins leave of the variables. A plugin that fails ends the request, not the filter. */
  #filtered(message: DaemonMessage & { kind: "GetEnvVarsResponse" }): DaemonMessage {
    const { plugins, session } = this.#options
    if (message.value.kind !== "Ok") return message
    try {
      const value = plugins.filter("filterEnv", session, message.value.value)
      return { kind: "GetEnvVarsResponse", value: { kind: "Ok", value } }
    } catch (error) {
      const text = error instanceof Error ? error.message : "a plugin failed"
      const value = { kind: "SystemFailure" as const, value: { canRetry: false, code: 2, message: text } }
      return { kind: "GetEnvVarsResponse", value: { kind: "Err", value } }
    }
  }
}
