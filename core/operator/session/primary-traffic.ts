import type { Plugins } from "../../host.ts"
import { type ClientMessage, type DaemonMessage, type ResponseError, supports } from "../../protocol/index.ts"
import type { Session } from "../../session.ts"
import type { AgentConnection } from "./agent-connection.ts"
import { AnswerQueue } from "./answer-queue.ts"
import { accessDenied, failedFile } from "./file-answers.ts"
import { FilePaths } from "./file-paths.ts"
import { failedConnect, forbiddenConnect, outgoingConnect, outgoingQuestion } from "./outgoing-requests.ts"

type Denial = { plugin: string; reason: string }

export interface PrimaryTrafficOptions {
  connection: AgentConnection
  plugins: Plugins<"operator">
  session: Session
  /** Agreed with the client. */
  version(): string
  toClient(message: DaemonMessage): void
  toAgent(to: AgentConnection, message: ClientMessage): void
  /** Stop reading from the client until `pending` has room. */
  hold(pending: { whenWritable(): Promise<void> }): void
  onDenied(what: string, denial: Denial): void
  /** Ends the client's socket with a reason. */
  fail(why: string): void
}

/** Requests that wait for plugins at once, for one client; beyond it the client is not read. */
const maxJudging = 256

const lostAgent: ResponseError = {
  kind: "SystemFailure",
  value: { canRetry: true, code: 1, message: "The agent beside the target was lost" },
}
const dnsFailed: ResponseError = { kind: "DnsLookup", value: { kind: { kind: "NoRecordsFound", value: 3 } } }

/** Environment, files, names and outgoing connections: what one agent answers, judged by the plugins on the way. */
export class PrimaryTraffic {
  readonly #options: PrimaryTrafficOptions
  readonly #paths = new FilePaths()
  readonly #judgesFiles: boolean
  readonly #judgesOutgoing: boolean
  readonly #files: AnswerQueue
  readonly #names: AnswerQueue
  readonly #environment: AnswerQueue
  readonly #connects: { TcpOutgoing: AnswerQueue; UdpOutgoing: AnswerQueue }
  /** Requests go on in the order they came, also when a plugin takes its time over one. */
  #turn: Promise<void> | undefined
  #judging = 0

  constructor(options: PrimaryTrafficOptions) {
    this.#options = options
    this.#judgesFiles = options.plugins.has("authorizeFile")
    this.#judgesOutgoing = options.plugins.has("authorizeOutgoing")
    const queue = () => new AnswerQueue((answer) => options.toClient(answer))
    this.#files = queue()
    this.#names = queue()
    this.#environment = queue()
    this.#connects = { TcpOutgoing: queue(), UdpOutgoing: queue() }
  }

  get connection(): AgentConnection {
    return this.#options.connection
  }

  fromClient(message: ClientMessage) {
    if (this.#turn === undefined && !this.#mustJudge(message)) return this.#forward(message)
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

  fromAgent(message: DaemonMessage) {
    switch (message.kind) {
      case "File":
        if (this.#judgesFiles) this.#paths.answered(message)
        return void this.#files.arrived(message)
      case "GetAddrInfoResponse":
        return void this.#names.arrived(message)
      case "GetEnvVarsResponse":
        return void this.#environment.arrived(this.#filtered(message))
      case "TcpOutgoing":
      case "UdpOutgoing":
        return message.value.kind === "Connect"
          ? void this.#connects[message.kind].arrived(message)
          : this.#options.toClient(message)
      default:
        this.#options.toClient(message)
    }
  }

  /** Everything the agent still owes is answered. */
  lost(): void {
    for (const queue of [this.#files, this.#names, this.#environment, ...Object.values(this.#connects)]) queue.lose()
  }

  #mustJudge(message: ClientMessage): boolean {
    if (message.kind === "FileRequest") return this.#judgesFiles
    if (message.kind === "GetAddrInfoRequest" || message.kind === "GetAddrInfoRequestV2") return this.#judgesOutgoing
    return this.#judgesOutgoing && outgoingConnect(message) !== undefined
  }

  async #judge(message: ClientMessage): Promise<void> {
    if (!this.#mustJudge(message)) return this.#forward(message)
    if (message.kind === "FileRequest") return this.#judgeFile(message)
    const connect = outgoingConnect(message)
    if (connect) {
      const denial = await this.#outgoingDenial(outgoingQuestion(connect))
      if (!denial) return this.#forward(message)
      const refusal = forbiddenConnect(connect, denial, supports(this.#options.version(), "forbiddenWithReason"))
      if (connect.uid === undefined && connect.family !== "SeqpacketOutgoing")
        this.#connects[connect.family].settle(refusal)
      else this.#options.toClient(refusal)
      return
    }
    if (message.kind !== "GetAddrInfoRequest" && message.kind !== "GetAddrInfoRequestV2") return
    const denial = await this.#outgoingDenial({ protocol: "dns", host: message.value.node })
    if (denial) this.#names.settle({ kind: "GetAddrInfoResponse", value: { kind: "Err", value: dnsFailed } })
    else this.#forward(message)
  }

  async #judgeFile(message: ClientMessage & { kind: "FileRequest" }): Promise<void> {
    const { plugins, session, onDenied } = this.#options
    const questions = this.#paths.questions(message.value)
    for (const question of questions ?? []) {
      const verdict = await plugins.authorize("authorizeFile", { session, ...question })
      if (verdict.allow) continue
      onDenied(`${question.access} ${question.path}`, verdict)
      return this.#refuseFile(message)
    }
    // A path below a folder that is not known cannot be judged.
    if (questions === undefined) return this.#refuseFile(message)
    this.#paths.sent(message.value, questions)
    this.#forward(message)
  }

  #refuseFile(message: ClientMessage & { kind: "FileRequest" }): void {
    const refusal = failedFile(message.value, accessDenied)
    if (refusal) this.#files.settle(refusal)
  }

  async #outgoingDenial(question: ReturnType<typeof outgoingQuestion>): Promise<Denial | undefined> {
    const { plugins, session, onDenied } = this.#options
    const verdict = await plugins.authorize("authorizeOutgoing", { session, ...question })
    if (verdict.allow) return undefined
    onDenied(`${question.protocol} ${question.host}${question.port === undefined ? "" : `:${question.port}`}`, verdict)
    return verdict
  }

  #forward(message: ClientMessage): void {
    this.#expect(message)
    this.#options.toAgent(this.#options.connection, message)
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
      case "TcpOutgoing":
      case "UdpOutgoing":
        if (message.value.kind !== "Connect") return
        return this.#connects[message.kind].expect(failedConnect(outgoingConnect(message)!, lostAgent))
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
