import type {
  ClientMessage,
  DaemonMessage,
  FileRequest,
  FileResponse,
  StealType,
} from "../../../core/protocol/index.ts"
import type { ProtocolSocket } from "./protocol-socket.ts"

type Of<K extends DaemonMessage["kind"]> = Extract<DaemonMessage, { kind: K }>
type Waiting<T> = { kind: string; resolve(value: T): void; reject(error: Error): void }
type StealMessage = Extract<ClientMessage, { kind: "TcpSteal" }>["value"]
export type Incoming = Of<"TcpSteal">["value"]

const proposed = "1.29.0"

/**
 * The client's internal proxy on one socket: it matches answers with requests as the real one does, and whatever it does not
 * expect ends it. `failure` is what the user would see then.
 */
export class InternalProxy {
  readonly #socket: ProtocolSocket
  #pongsOwed = 0
  #started = false
  #version: string | undefined
  #versions: Waiting<string>[] = []
  #files: Waiting<FileResponse>[] = []
  #names: Waiting<Of<"GetAddrInfoResponse">["value"]>[] = []
  readonly #connects = new Map<string, Waiting<Extract<Of<"TcpOutgoing">["value"], { kind: "ConnectV2" }>["value"]>>()
  readonly #subscriptions = new Map<number, Waiting<Extract<Incoming, { kind: "SubscribeResult" }>["value"]>>()
  #pings: Waiting<void>[] = []
  readonly #outgoing: Of<"TcpOutgoing">["value"][] = []
  readonly #incoming: Incoming[] = []
  #wake: (() => void) | undefined
  readonly operatorPings: bigint[] = []
  /** Settles with the reason when the proxy would have stopped. */
  readonly failure: Promise<string>
  #failed: string | undefined

  constructor(socket: ProtocolSocket) {
    this.#socket = socket
    this.failure = this.#read()
  }

  /** As at the start of a run: a ping before anything else, then the version, then logs are welcome. */
  async start(): Promise<string> {
    await this.ping()
    this.#started = true
    return this.negotiate(proposed)
  }

  /** As after a reconnect: no ping, and the version that was agreed before. */
  async resume(version: string): Promise<string> {
    this.#started = true
    return this.negotiate(version)
  }

  async negotiate(version: string): Promise<string> {
    const answer = this.#expect("version", this.#versions)
    this.#socket.send({ kind: "SwitchProtocolVersion", value: version })
    this.#version = await answer
    this.#socket.send({ kind: "ReadyForLogs" })
    return this.#version
  }

  ping(): Promise<void> {
    this.#pongsOwed++
    const pong = this.#expect("Pong", this.#pings)
    this.#socket.send({ kind: "Ping" })
    return pong
  }

  file(request: FileRequest, answerKind: string = request.kind): Promise<FileResponse> {
    const answer = this.#expect(answerKind, this.#files)
    this.#socket.send({ kind: "FileRequest", value: request })
    return answer
  }

  closeFile(fd: bigint): void {
    this.#socket.send({ kind: "FileRequest", value: { kind: "Close", value: { fd } } })
  }

  resolve(node: string): Promise<Of<"GetAddrInfoResponse">["value"]> {
    const answer = this.#expect("GetAddrInfoResponse", this.#names)
    const value = {
      node,
      servicePort: 80,
      family: { kind: "Both" },
      socktype: { kind: "Stream" },
      flags: 0,
      protocol: 0,
    } as const
    this.#socket.send({ kind: "GetAddrInfoRequestV2", value })
    return answer
  }

  connect(ip: string, port: number) {
    const uid = crypto.randomUUID()
    const { promise, resolve, reject } =
      Promise.withResolvers<Extract<Of<"TcpOutgoing">["value"], { kind: "ConnectV2" }>["value"]>()
    this.#connects.set(uid, { kind: "ConnectV2", resolve, reject })
    this.#socket.send({
      kind: "TcpOutgoing",
      value: { kind: "ConnectV2", value: { uid, remoteAddress: { kind: "Ip", value: { ip, port } } } },
    })
    return promise
  }

  write(connectionId: bigint, text: string): void {
    const bytes = new TextEncoder().encode(text)
    this.#socket.send({ kind: "TcpOutgoing", value: { kind: "Write", value: { connectionId, bytes } } })
  }

  /** @param header steal only requests with a header line that matches */
  steal(port: number, header?: string) {
    const { promise, resolve, reject } =
      Promise.withResolvers<Extract<Incoming, { kind: "SubscribeResult" }>["value"]>()
    this.#subscriptions.set(port, { kind: "SubscribeResult", resolve, reject })
    const value: StealType =
      header === undefined
        ? { kind: "All", value: port }
        : { kind: "FilteredHttpEx", value: [port, { kind: "Header", value: header }] }
    this.sendSteal({ kind: "PortSubscribe", value })
    return promise
  }

  sendSteal(value: StealMessage): void {
    this.#socket.send({ kind: "TcpSteal", value })
  }

  nextOutgoing = () => this.#next(this.#outgoing)
  nextIncoming = () => this.#next(this.#incoming)

  close(): void {
    this.#socket.close()
  }

  drop(): void {
    this.#socket.drop()
  }

  /** As behind a network that swallows everything: the socket stays open, and nothing more is read or sent. */
  stall(): void {
    this.#socket.stall()
  }

  #expect<T>(kind: string, queue: Waiting<T>[]): Promise<T> {
    const { promise, resolve, reject } = Promise.withResolvers<T>()
    queue.push({ kind, resolve, reject })
    return promise
  }

  async #next<T>(queue: T[]): Promise<T> {
    while (queue.length === 0) {
      if (this.#failed !== undefined) throw new Error(this.#failed)
      const { promise, resolve } = Promise.withResolvers<void>()
      this.#wake = resolve
      await promise
    }
    return queue.shift()!
  }

  async #read(): Promise<string> {
    for (;;) {
      // The tests bound their own waits; a quiet socket is no failure.
      const message = await this.#socket.next(600_000).catch((error: Error) => ({ ended: error.message }))
      const why = "ended" in message ? message.ended : this.#take(message)
      if (why === undefined) continue
      this.#failed = why
      const error = new Error(why)
      const waiting = [
        this.#versions,
        this.#files,
        this.#names,
        this.#pings,
        [...this.#connects.values()],
        [...this.#subscriptions.values()],
      ]
      for (const one of waiting.flat()) one.reject(error)
      this.#wake?.()
      this.#socket.drop()
      return why
    }
  }

  /** @returns why the proxy stops */
  #take(message: DaemonMessage): string | undefined {
    const surplus = `an answer nobody waits for: ${message.kind}`
    switch (message.kind) {
      case "Pong":
        if (this.#pongsOwed-- === 0) return "a pong that was not asked for"
        return void this.#pings.shift()?.resolve()
      case "OperatorPing":
        this.operatorPings.push(message.value)
        return void this.#socket.send({ kind: "OperatorPong", value: message.value })
      case "LogMessage":
        return !this.#started && message.value.level.kind === "Info" ? "an Info log before the first pong" : undefined
      case "Close":
        return `closed: ${message.value}`
    }
    if (!this.#started) return `${message.kind} before the first pong`
    switch (message.kind) {
      case "SwitchProtocolVersionResponse":
        return void this.#versions.shift()?.resolve(message.value)
      case "File": {
        const waiting = this.#files.shift()
        if (waiting?.kind !== message.value.kind) return `${surplus} ${message.value.kind} for ${waiting?.kind}`
        return void waiting.resolve(message.value)
      }
      case "GetAddrInfoResponse": {
        const waiting = this.#names.shift()
        return waiting ? void waiting.resolve(message.value) : surplus
      }
      case "TcpOutgoing": {
        if (message.value.kind !== "ConnectV2") {
          this.#outgoing.push(message.value)
          return void this.#wake?.()
        }
        const { uid } = message.value.value
        const waiting = this.#connects.get(uid)
        this.#connects.delete(uid)
        return waiting ? void waiting.resolve(message.value.value) : surplus
      }
      case "TcpSteal": {
        if (message.value.kind !== "SubscribeResult") {
          this.#incoming.push(message.value)
          return void this.#wake?.()
        }
        return this.#subscribed(message.value.value)
      }
      default:
        return `an unexpected ${message.kind}`
    }
  }

  /** A success names its port; a refusal names it only inside its error. */
  #subscribed(result: Extract<Incoming, { kind: "SubscribeResult" }>["value"]): string | undefined {
    const port =
      result.kind === "Ok" ? result.value : result.value.kind === "PortAlreadyStolen" ? result.value.value : undefined
    if (port === undefined)
      return `a subscription failed in a way the client does not know: ${JSON.stringify(result.value)}`
    const waiting = this.#subscriptions.get(port)
    this.#subscriptions.delete(port)
    return void waiting?.resolve(result)
  }
}
