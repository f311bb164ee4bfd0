import { randomUUID } from "node:crypto"
import { within } from "../../../agent/test-agent.ts"
import {
  type ClientMessage,
  type DaemonConnect,
  type DaemonMessage,
  type DaemonTcp,
  daemonMessage,
  type FileRequest,
  type FileResponse,
  type GetAddrInfoResponse,
  type LayerTcp,
  type LayerTcpOutgoing,
  type LayerTcpSteal,
  MessageDecoder,
  type ProtocolFeature,
  type Result,
  type SocketAddress,
  supports,
  unnegotiatedVersion,
} from "../../../core/protocol/index.ts"
import { Outbound } from "./outbound.ts"
import { answerOf, fileFeature, whyFatal } from "./rules.ts"

export type OutgoingKind = "TcpOutgoing" | "UdpOutgoing" | "SeqpacketOutgoing"
type OutgoingEvent = { kind: "data"; bytes: Uint8Array } | { kind: "end" } | { kind: "close" }
type Mode = "Tcp" | "TcpSteal"

interface Wire {
  write(bytes: Uint8Array): void
  end(): void
}

/** Answers that are matched by their order alone. */
interface Owed<T> {
  what: string
  resolve(answer: T): void
}

/**
 * A stand-in for mirrord's internal proxy as strict as that: whatever would end a real session (an answer nobody waits for,
 * a message too new for the agreed version, a log line too early, …) is kept in `violations` and fails every later wait.
 */
export class MirrordClient {
  readonly violations: string[] = []
  readonly logs: string[] = []
  /** The reason of a `Close`. */
  closed: string | undefined
  agreed: string = unnegotiatedVersion
  readonly #out: Outbound
  readonly #socket: Wire
  readonly ended: Promise<void>
  #pongsOwed = 0
  #isFirstPong = true
  #wantsLogs = false
  readonly #files: Owed<FileResponse>[] = []
  readonly #names: Owed<GetAddrInfoResponse>[] = []
  readonly #environments: Owed<Extract<DaemonMessage, { kind: "GetEnvVarsResponse" }>["value"]>[] = []
  readonly #versions: Owed<string>[] = []
  readonly #pongs: Owed<void>[] = []
  readonly #unnamed = { TcpOutgoing: [], UdpOutgoing: [], SeqpacketOutgoing: [] } as Record<
    OutgoingKind,
    Owed<Result<DaemonConnect>>[]
  >
  readonly #named = new Map<string, (answer: Result<DaemonConnect>) => void>()
  readonly #outgoing = new Map<string, Inbox<OutgoingEvent>>()
  readonly #results = { Tcp: [], TcpSteal: [] } as Record<Mode, Owed<Extract<DaemonTcp, { kind: "SubscribeResult" }>>[]>
  readonly #traffic = { Tcp: new Inbox<DaemonTcp>(), TcpSteal: new Inbox<DaemonTcp>() }
  readonly #seenIds = { Tcp: new Set<bigint>(), TcpSteal: new Set<bigint>() }
  readonly #openIds = { Tcp: new Set<bigint>(), TcpSteal: new Set<bigint>() }

  private constructor(socket: Wire, ended: Promise<void>, seed: number) {
    this.#socket = socket
    this.ended = ended
    this.#out = new Outbound(seed, (bytes) => socket.write(bytes))
  }

  /** Connects and says nothing yet. */
  static async dial(address: { unix: string } | { hostname: string; port: number }, seed = 1): Promise<MirrordClient> {
    const gone = Promise.withResolvers<void>()
    let client: MirrordClient | undefined
    let queue = Buffer.alloc(0)
    const decoder = new MessageDecoder(daemonMessage)
    const push = () => {
      const taken = Math.max(0, socket.write(queue))
      queue = queue.subarray(taken)
    }
    const socket = await Bun.connect({
      ...(address as { unix: string }),
      socket: {
        data(_, bytes) {
          try {
            decoder.push(Buffer.from(bytes), (message) => client?.received(message))
          } catch (thrown) {
            client?.violations.push(`not decodable: ${thrown}`)
          }
        },
        drain: push,
        close: () => gone.resolve(),
        error: () => gone.resolve(),
      },
    })
    const write = (bytes: Uint8Array) => {
      queue = Buffer.concat([queue, bytes])
      push()
    }
    client = new MirrordClient({ write, end: () => socket.terminate() }, gone.promise, seed)
    return client
  }

  /** As the internal proxy begins: a ping before everything, the version, then the wish for logs. */
  static async internalProxy(
    address: { unix: string } | { hostname: string; port: number },
    version = "1.29.0",
    seed = 1,
  ): Promise<MirrordClient> {
    const client = await MirrordClient.dial(address, seed)
    await client.ping()
    await client.negotiate(version)
    if (client.supports("readyForLogs")) client.readyForLogs()
    return client
  }

  supports(feature: ProtocolFeature): boolean {
    return supports(this.agreed, feature)
  }

  // ---- the session

  /** Leaves after everything said so far, so that its pong says that the server has heard that. */
  ping(): Promise<void> {
    this.#out.flush()
    this.#pongsOwed++
    const answer = this.#owe(this.#pongs, "Pong")
    this.#out.push("ping", { kind: "Ping" })
    return answer
  }

  async negotiate(version: string): Promise<string> {
    const answer = this.#owe(this.#versions, "the version")
    this.#out.push("core", { kind: "SwitchProtocolVersion", value: version })
    this.agreed = await answer
    return this.agreed
  }

  readyForLogs(): void {
    this.#wantsLogs = true
    this.#out.push("core", { kind: "ReadyForLogs" })
  }

  environment(select: string[] = ["*"], filter: string[] = []) {
    const answer = this.#owe(this.#environments, "the environment")
    this.#out.push("simple", {
      kind: "GetEnvVarsRequest",
      value: { envVarsFilter: filter, envVarsSelect: select },
    })
    return answer
  }

  /** Something that is not modelled. */
  say(message: ClientMessage, queue = "simple"): void {
    this.#out.push(queue, message)
  }

  /** A real client never says goodbye. */
  hangUp(): void {
    this.#socket.end()
  }

  // ---- files and names

  async file(request: Exclude<FileRequest, { kind: "Close" | "CloseDir" }>): Promise<FileResponse["value"]> {
    const feature = fileFeature[request.kind]
    if (feature && !this.supports(feature)) throw new Error(`a client of ${this.agreed} sends no ${request.kind}`)
    const answer = this.#owe(this.#files, answerOf[request.kind])
    this.#out.push("files", { kind: "FileRequest", value: request })
    return (await answer).value
  }

  closeFile(kind: "Close" | "CloseDir", fd: bigint): void {
    const value: FileRequest = kind === "Close" ? { kind, value: { fd } } : { kind, value: { remoteFd: fd } }
    this.#out.push("files", { kind: "FileRequest", value })
  }

  lookUp(node: string, family: "Ipv4Only" | "Ipv6Only" | "Both" = "Both"): Promise<GetAddrInfoResponse> {
    const answer = this.#owe(this.#names, "GetAddrInfoResponse")
    const value = {
      node,
      servicePort: 0,
      family: { kind: family },
      socktype: { kind: "Stream" as const },
      flags: 0,
      protocol: 0,
    }
    this.#out.push(
      "simple",
      this.supports("addrInfoV2")
        ? { kind: "GetAddrInfoRequestV2", value }
        : { kind: "GetAddrInfoRequest", value: { node } },
    )
    return answer
  }

  // ---- outgoing

  connect(kind: OutgoingKind, remoteAddress: SocketAddress): Promise<Result<DaemonConnect>> {
    if (!this.supports("connectV2")) {
      const answer = this.#owe(this.#unnamed[kind], `${kind} Connect`)
      this.#sendOutgoing(kind, { kind: "Connect", value: { remoteAddress } })
      return answer
    }
    const uid = randomUUID()
    const answer = new Promise<Result<DaemonConnect>>((resolve) => this.#named.set(uid, resolve))
    this.#sendOutgoing(kind, { kind: "ConnectV2", value: { uid, remoteAddress } })
    return this.#wait(`${kind} ConnectV2`, answer)
  }

  /** Empty bytes: no more will come. */
  write(kind: OutgoingKind, connectionId: bigint, bytes: Uint8Array | string): void {
    this.#sendOutgoing(kind, { kind: "Write", value: { connectionId, bytes: Buffer.from(bytes as string) } })
  }

  closeOutgoing(kind: OutgoingKind, connectionId: bigint): void {
    this.#sendOutgoing(kind, { kind: "Close", value: { connectionId } })
    this.#outgoing.delete(`${kind} ${connectionId}`)
  }

  /** Everything until the server has closed the connection, which it must do by itself. */
  async untilClosed(kind: OutgoingKind, connectionId: bigint): Promise<{ content: string; ended: boolean }> {
    const inbox = this.#outgoing.get(`${kind} ${connectionId}`)
    if (!inbox) throw new Error(`${kind} ${connectionId} is not open`)
    let content = ""
    for (let ended = false; ; ) {
      const event = await this.#wait(`the end of ${kind} ${connectionId}`, inbox.next())
      if (event.kind === "data") content += Buffer.from(event.bytes).toString()
      if (event.kind === "end") ended = true
      if (event.kind === "close") return { content, ended }
    }
  }

  async nextData(kind: OutgoingKind, connectionId: bigint): Promise<string> {
    const event = await this.#wait(
      `data on ${kind} ${connectionId}`,
      this.#outgoing.get(`${kind} ${connectionId}`)!.next(),
    )
    return event.kind === "data" ? Buffer.from(event.bytes).toString() : event.kind
  }

  // ---- incoming

  async subscribe(message: Extract<ClientMessage, { kind: Mode }>): Promise<string> {
    const answer = this.#owe(this.#results[message.kind], "SubscribeResult")
    this.#out.push("incoming", message)
    const { value } = await answer
    return value.kind === "Ok" ? `Ok ${value.value}` : value.value.kind
  }

  /** Responses of one request and data of one connection each have a queue of their own. */
  steal(value: LayerTcpSteal, queue = "incoming"): void {
    this.#out.push(queue, { kind: "TcpSteal", value })
  }

  mirror(value: LayerTcp): void {
    this.#out.push("incoming", { kind: "Tcp", value })
  }

  traffic(mode: Mode = "TcpSteal"): Promise<DaemonTcp> {
    return this.#wait(`a message of ${mode}`, this.#traffic[mode].next())
  }

  // ---- what arrives

  received(message: DaemonMessage): void {
    const fatal = whyFatal(message, this.agreed)
    if (fatal) this.#violate(fatal)
    if (this.#isFirstPong && this.#pongsOwed > 0 && !["Pong", "LogMessage", "Close"].includes(message.kind)) {
      this.#violate(`${message.kind} before the first pong`)
    }
    switch (message.kind) {
      case "Pong":
        this.#isFirstPong = false
        this.#settle(this.#pongs, undefined, "Pong")
        return
      case "SwitchProtocolVersionResponse":
        this.agreed = message.value
        this.#settle(this.#versions, message.value, message.kind)
        return
      case "Close":
        this.closed = message.value
        return
      case "LogMessage":
        if (!this.#wantsLogs) this.#violate(`a log line before ReadyForLogs: ${message.value.message}`)
        this.logs.push(`${message.value.level.kind}: ${message.value.message}`)
        return
      case "GetEnvVarsResponse":
        this.#settle(this.#environments, message.value, message.kind)
        return
      case "GetAddrInfoResponse":
        this.#settle(this.#names, message.value, message.kind)
        return
      case "File": {
        const expected = this.#files[0]?.what
        if (expected !== undefined && expected !== message.value.kind) {
          this.#violate(`${message.value.kind} where ${expected} was owed`)
        }
        this.#settle(this.#files, message.value, message.value.kind)
        return
      }
      case "TcpOutgoing":
      case "UdpOutgoing":
      case "SeqpacketOutgoing":
        this.#outgoingArrived(message.kind, message.value as LayerOut)
        return
      case "Tcp":
      case "TcpSteal":
        this.#trafficArrived(message.kind, message.value)
        return
      default:
        this.#violate(`unexpected ${message.kind}`)
    }
  }

  #outgoingArrived(kind: OutgoingKind, message: LayerOut): void {
    if (message.kind === "Connect") {
      this.#opened(kind, message.value)
      this.#settle(this.#unnamed[kind], message.value, `${kind} Connect`)
    } else if (message.kind === "ConnectV2") {
      const { uid, connect } = message.value
      this.#opened(kind, connect)
      const resolve = this.#named.get(uid)
      if (!this.#named.delete(uid)) this.#violate(`${kind} ConnectV2 nobody waits for`)
      resolve?.(connect)
    } else if (message.kind === "Read" && message.value.kind === "Ok") {
      const { connectionId, bytes } = message.value.value
      const event = bytes.length === 0 ? ({ kind: "end" } as const) : ({ kind: "data", bytes } as const)
      this.#outgoing.get(`${kind} ${connectionId}`)?.add(event)
    } else if (message.kind === "Close") this.#outgoing.get(`${kind} ${message.value}`)?.add({ kind: "close" })
  }

  #opened(kind: OutgoingKind, connect: Result<DaemonConnect>): void {
    if (connect.kind !== "Ok") return
    const key = `${kind} ${connect.value.connectionId}`
    if (this.#outgoing.has(key)) this.#violate(`${key} was used before`)
    this.#outgoing.set(key, new Inbox())
  }

  #trafficArrived(mode: Mode, message: DaemonTcp): void {
    if (message.kind === "SubscribeResult") {
      this.#settle(this.#results[mode], message, "SubscribeResult")
      return
    }
    const begins = beginsWith(message)
    if (begins !== undefined) {
      if (this.#seenIds[mode].has(begins)) this.#violate(`${mode} id ${begins} was used before`)
      this.#seenIds[mode].add(begins)
      this.#openIds[mode].add(begins)
    } else if (!this.#openIds[mode].has(idOf(message))) this.#violate(`${message.kind} for ${mode} ${idOf(message)}`)
    if (message.kind === "Close") this.#openIds[mode].delete(message.value.connectionId)
    this.#traffic[mode].add(message)
  }

  // ---- inside

  #sendOutgoing(kind: OutgoingKind, value: LayerTcpOutgoing): void {
    this.#out.push("outgoing", { kind, value } as ClientMessage)
  }

  #owe<T>(queue: Owed<T>[], what: string): Promise<T> {
    return this.#wait(what, new Promise<T>((resolve) => queue.push({ what, resolve })))
  }

  async #wait<T>(what: string, work: Promise<T>): Promise<T> {
    const answer = await within(what, work).catch((thrown) => {
      throw new Error(`${thrown.message}; closed: ${this.closed}; violations: ${this.violations.join("; ")}`)
    })
    if (this.violations.length > 0) throw new Error(`a real session would have ended: ${this.violations.join("; ")}`)
    return answer
  }

  #settle<T>(queue: Owed<T>[], answer: T, what: string): void {
    const owed = queue.shift()
    if (!owed) this.#violate(`${what} nobody waits for`)
    owed?.resolve(answer)
  }

  #violate(what: string): void {
    this.violations.push(what)
  }
}

type LayerOut = Extract<DaemonMessage, { kind: "TcpOutgoing" }>["value"]

/** The id of a connection or request that begins here. */
function beginsWith(message: DaemonTcp): bigint | undefined {
  switch (message.kind) {
    case "NewConnectionV1":
    case "HttpRequest":
    case "HttpRequestFramed":
      return message.value.connectionId
    case "NewConnectionV2":
      return message.value.connection.connectionId
    case "HttpRequestChunked":
      return message.value.kind.startsWith("Start") ? message.value.value.connectionId : undefined
    default:
      return undefined
  }
}

function idOf(message: DaemonTcp): bigint {
  if (message.kind === "HttpRequestChunked") return message.value.value.connectionId
  return (message.value as { connectionId: bigint }).connectionId
}

class Inbox<T> {
  readonly #items: T[] = []
  #waiting: ((item: T) => void) | undefined

  add(item: T): void {
    const waiting = this.#waiting
    this.#waiting = undefined
    if (waiting) waiting(item)
    else this.#items.push(item)
  }

  next(): Promise<T> {
    const item = this.#items.shift()
    return item !== undefined ? Promise.resolve(item) : new Promise((resolve) => (this.#waiting = resolve))
  }
}
